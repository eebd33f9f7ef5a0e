#include "engine/position/plan_maker.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/field_error.h"
#include "engine/base/status_macros.h"
#include "engine/position/frequency_scaling.h"
#include "engine/position/length_fit.h"
#include "engine/position/parameter_checks.h"

namespace longhaul {
namespace {

// Divisors and query scales of a request beyond these serve nothing, and their products would not be finite in f32.
constexpr double kMinScale = 1e-6, kMaxScale = 1e6;

// Turns one concrete mode into a plan: checks its parameters, fits what is 0, fills in what is not given.
class PlanMaker {
 public:
  // `plain`: the model's own rotation, of which the plan is made.
  PlanMaker(const ModelRotation& rotation, const RotaryPlan& plain, int64_t trained_length, int64_t length,
            bool beyond_reach)
      : rotation_(rotation),
        plan_(plain),
        trained_(trained_length),
        length_(length),
        beyond_reach_(beyond_reach),
        reach_(trained_length) {}

  RotaryPlan TakePlan() { return std::move(plan_); }
  std::optional<int64_t> reach() const { return reach_; }
  bool fitted() const { return fitted_; }
  bool past_recommended() const { return past_recommended_; }

  absl::Status operator()(position::Auto&) { return absl::InternalError("auto is no plan"); }

  absl::Status operator()(position::None&) { return absl::OkStatus(); }

  absl::Status operator()(position::Linear& mode) {
    LH_RETURN_IF_ERROR(Factor("linear.factor", mode.factor));
    Divide([&](int64_t) { return mode.factor; });
    return absl::OkStatus();
  }

  absl::Status operator()(position::Ntk& mode) {
    LH_RETURN_IF_ERROR(Factor("ntk.factor", mode.factor));
    const auto divisor = mode.variant == position::Ntk::Variant::kRadix ? NtkRadixDivisor : NtkDivisor;
    Divide([&](int64_t pair) { return divisor(pair, rotation_.rotary_dims, mode.factor); });
    // Measured by kexue.fm 9948 and the YaRN paper: the loss rises from about half of the reach.
    past_recommended_ =
        mode.factor > 1 && static_cast<double>(length_) >= mode.factor / 2 * static_cast<double>(trained_);
    return absl::OkStatus();
  }

  absl::Status operator()(position::NtkFixed& mode) {
    LH_RETURN_IF_ERROR(Factor("ntk_fixed.factor", mode.factor));
    Divide([&](int64_t pair) { return NtkFixedDivisor(pair, rotation_.rotary_dims, mode.factor); });
    return absl::OkStatus();
  }

  absl::Status operator()(position::BetaMixed& mode) {
    LH_RETURN_IF_ERROR(Factor("beta_mixed.factor", mode.factor));
    LH_RETURN_IF_ERROR(CheckRange("beta_mixed.b", mode.b, 0, 1));
    Divide([&](int64_t pair) { return BetaMixedDivisor(pair, rotation_.rotary_dims, mode.factor, mode.b); });
    return absl::OkStatus();
  }

  absl::Status operator()(position::Yarn& mode) {
    LH_RETURN_IF_ERROR(Factor("yarn.factor", mode.factor));
    LH_RETURN_IF_ERROR(CheckAbove("yarn.alpha", mode.alpha, 0, "0"));
    LH_RETURN_IF_ERROR(CheckAbove("yarn.beta", mode.beta, mode.alpha, "yarn.alpha"));
    Divide([&](int64_t pair) {
      const double share =
          mode.ramp == position::Yarn::Ramp::kTurns
              ? TurnsRampShare(OwnTheta(pair), trained_, mode.alpha, mode.beta)
              : IndexRampShare(pair, rotation_.rotary_dims, rotation_.base, trained_, mode.alpha, mode.beta);
      return RampDivisor(share, mode.factor);
    });
    const double temperature = YarnTemperature(mode.factor);
    plan_.query_scale *= temperature * temperature;  // of the query and the key
    return absl::OkStatus();
  }

  absl::Status operator()(position::Llama3& mode) {
    LH_RETURN_IF_ERROR(Factor("llama3.factor", mode.factor));
    LH_RETURN_IF_ERROR(CheckAbove("llama3.low_freq_factor", mode.low_freq_factor, 0, "0"));
    LH_RETURN_IF_ERROR(
        CheckAbove("llama3.high_freq_factor", mode.high_freq_factor, mode.low_freq_factor, "llama3.low_freq_factor"));
    Divide([&](int64_t pair) {
      const double share = TurnsRampShare(OwnTheta(pair), trained_, mode.low_freq_factor, mode.high_freq_factor);
      return RampDivisor(share, mode.factor);
    });
    return absl::OkStatus();
  }

  absl::Status operator()(position::PerPair& mode) {
    if (mode.factors.empty()) {
      if (rotation_.long_factors.empty()) {
        return absl::FailedPreconditionError(
            "position.per_pair.factors: none are given, and the model file has no table of its own "
            "(rope_factors_long.weight)");
      }
      mode.factors.assign(rotation_.long_factors.begin(), rotation_.long_factors.end());
    }
    if (mode.factors.size() != plan_.inv_freq.size()) {
      return FieldError("position.per_pair.factors",
                        absl::StrCat(mode.factors.size(), " values are not allowed; there must be ",
                                     plan_.inv_freq.size(), ", one for each rotary pair"));
    }
    for (double factor : mode.factors) {
      LH_RETURN_IF_ERROR(CheckRange("per_pair.factors", factor, kMinScale, kMaxScale));
    }
    LH_RETURN_IF_ERROR(CheckRange("per_pair.query_scale", mode.query_scale, kMinScale, kMaxScale));
    Divide([&](int64_t pair) { return mode.factors[static_cast<size_t>(pair)]; });
    plan_.query_scale *= mode.query_scale;
    reach_ = ReachOfFactor(*std::max_element(mode.factors.begin(), mode.factors.end()), trained_);
    return absl::OkStatus();
  }

  absl::Status operator()(position::Rerope& mode) {
    LH_RETURN_IF_ERROR(Window("rerope.window", mode.window));
    plan_.far = FarRegime{*mode.window, 0, false, static_cast<double>(*mode.window)};
    // A window beyond L lets distances through that were never trained; else nothing bounds the text.
    if (*mode.window <= trained_) reach_ = std::nullopt;
    return absl::OkStatus();
  }

  absl::Status operator()(position::LeakyRerope& mode) {
    LH_RETURN_IF_ERROR(Window("leaky_rerope.window", mode.window));
    LH_RETURN_IF_ERROR(CheckCount("leaky_rerope.step", mode.step));
    if (mode.step == 0) {
      const int64_t most = (trained_ - 1) / 2;
      if (*mode.window > most) {
        return Refusal("leaky_rerope.window", *mode.window,
                       absl::StrCat("1 to ", most, " (below half the trained length) where the step is fitted"));
      }
      mode.step = FitStep(*mode.window, length_, trained_);
      fitted_ = true;
    }
    Far(*mode.window, mode.step, false);
    past_recommended_ =
        mode.step > 1 && length_ > *mode.window && !WithinHalf(*mode.window, mode.step, length_, trained_);
    return absl::OkStatus();
  }

  absl::Status operator()(position::SelfExtend& mode) {
    LH_RETURN_IF_ERROR(CheckCount("self_extend.group", mode.group));
    LH_RETURN_IF_ERROR(Window("self_extend.window", mode.window));
    if (mode.group == 0) {
      const int64_t most = (SaturatingProduct(2, trained_) - 1) / 3;
      if (*mode.window > most) {
        return Refusal(
            "self_extend.window", *mode.window,
            absl::StrCat("1 to ", most, " (below two thirds of the trained length) where the group is fitted"));
      }
      mode.group = FitGroup(*mode.window, length_, trained_);
      fitted_ = true;
    }
    Far(*mode.window, mode.group, true);
    return absl::OkStatus();
  }

  absl::Status operator()(position::LogNSwitch& log_n) {
    LH_RETURN_IF_ERROR(CheckLength("log_n.trained_length", log_n.trained_length, "the trained length"));
    if (log_n.trained_length == 0) log_n.trained_length = trained_;
    // A model file may declare 1, whose logarithm nothing can be divided by.
    if (log_n.trained_length < 2) return Refusal("log_n.trained_length", log_n.trained_length, "at least 2");
    plan_.log_n = LogN{static_cast<double>(log_n.trained_length)};
    return absl::OkStatus();
  }

 private:
  double OwnTheta(int64_t pair) const { return plan_.inv_freq[static_cast<size_t>(pair)]; }

  // Divides every pair's theta by divisor(pair).
  template <typename Divisor>
  void Divide(const Divisor& divisor) {
    for (size_t i = 0; i < plan_.inv_freq.size(); ++i) plan_.inv_freq[i] /= divisor(static_cast<int64_t>(i));
  }

  // Checks or fits a factor; the plan reaches factor * L.
  absl::Status Factor(const char* field, double& factor) {
    if (factor == 0) {
      factor = FitFactor(length_, trained_);
      fitted_ = true;
    }
    if (!(factor >= 1) || !std::isfinite(factor)) {
      return Refusal(field, factor, "a finite number, at least 1, or 0 to be fitted");
    }
    reach_ = ReachOfFactor(factor, trained_);
    return absl::OkStatus();
  }

  absl::Status Window(const char* field, std::optional<int64_t>& window) const {
    if (!window.has_value()) window = std::max<int64_t>(trained_ / 4, 1);
    if (*window >= 1 && (*window <= trained_ || beyond_reach_)) return absl::OkStatus();
    if (beyond_reach_) return Refusal(field, *window, "at least 1");
    return Refusal(field, *window, absl::StrCat("1 to ", trained_, " (the trained length), or set allow_beyond_reach"));
  }

  // A far regime of quotients by `divisor`, which meets the near one at the window. By 1 it would be the near one.
  void Far(int64_t window, int64_t divisor, bool floor) {
    reach_ = ReachOfStep(window, divisor, trained_);
    if (divisor == 1) return;
    const double offset = static_cast<double>(window) - static_cast<double>(window) / static_cast<double>(divisor);
    plan_.far = FarRegime{window, divisor, floor, offset};
  }

  const ModelRotation& rotation_;
  RotaryPlan plan_;
  const int64_t trained_, length_;
  const bool beyond_reach_;
  std::optional<int64_t> reach_;
  bool fitted_ = false, past_recommended_ = false;
};

}  // namespace

absl::StatusOr<ResolvedPosition> MakePlan(const ModelRotation& rotation, const RotaryPlan& plain, PositionMode mode,
                                          int64_t length) {
  PlanMaker maker(rotation, plain, mode.trained_length, length, mode.allow_beyond_reach);
  LH_RETURN_IF_ERROR(std::visit(maker, mode.kind));
  if (mode.log_n.has_value()) LH_RETURN_IF_ERROR(maker(*mode.log_n));
  ResolvedPosition resolved;
  resolved.mode = std::move(mode);
  resolved.plan = maker.TakePlan();
  resolved.reach = maker.reach();
  SetFingerprint(resolved.plan);
  resolved.past_recommended = maker.past_recommended();
  resolved.refit = maker.fitted() && resolved.plan.fingerprint != plain.fingerprint;
  return resolved;
}

}  // namespace longhaul
