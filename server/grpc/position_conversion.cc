#include "server/grpc/position_conversion.h"

#include <limits>
#include <optional>
#include <utility>
#include <variant>

#include "engine/base/field_error.h"
#include "engine/base/status_macros.h"

namespace longhaul {
namespace {

absl::StatusOr<position::Ntk::Variant> FromWire(v1::NtkVariant variant) {
  switch (variant) {
    case v1::NTK_VARIANT_UNSPECIFIED:
    case v1::NTK_VARIANT_BLOC97:
      return position::Ntk::Variant::kBloc97;
    case v1::NTK_VARIANT_RADIX:
      return position::Ntk::Variant::kRadix;
    default:
      return NotAllowed("position.ntk.variant", static_cast<int>(variant),
                        "1 (BLOC97), 2 (RADIX) or 0 (the default, BLOC97)");
  }
}

absl::StatusOr<position::Yarn::Ramp> FromWire(v1::YarnRamp ramp) {
  switch (ramp) {
    case v1::YARN_RAMP_UNSPECIFIED:
    case v1::YARN_RAMP_INDEX:
      return position::Yarn::Ramp::kIndex;
    case v1::YARN_RAMP_TURNS:
      return position::Yarn::Ramp::kTurns;
    default:
      return NotAllowed("position.yarn.ramp", static_cast<int>(ramp), "1 (INDEX), 2 (TURNS) or 0 (the default, INDEX)");
  }
}

template <typename Message>
absl::StatusOr<std::optional<int64_t>> WindowFromWire(const char* field, const Message& message) {
  if (!message.has_window()) return std::optional<int64_t>();
  LH_ASSIGN_OR_RETURN(const int64_t window, TokensFromWire(field, message.window()));
  return std::optional<int64_t>(window);
}

uint64_t Unsigned(int64_t number) {
  return static_cast<uint64_t>(number);
}

// Fills the message of each kind; every parameter that the engine has is given.
struct KindToWire {
  v1::PositionMode& out;

  void operator()(const position::Auto& mode) const {
    out.mutable_auto_()->set_expected_tokens(Unsigned(mode.expected_tokens));
  }
  void operator()(const position::None&) const { out.mutable_none(); }
  void operator()(const position::Linear& mode) const { out.mutable_linear()->set_factor(mode.factor); }
  void operator()(const position::Ntk& mode) const {
    out.mutable_ntk()->set_factor(mode.factor);
    out.mutable_ntk()->set_variant(mode.variant == position::Ntk::Variant::kRadix ? v1::NTK_VARIANT_RADIX
                                                                                  : v1::NTK_VARIANT_BLOC97);
  }
  void operator()(const position::NtkFixed& mode) const { out.mutable_ntk_fixed()->set_factor(mode.factor); }
  void operator()(const position::BetaMixed& mode) const {
    out.mutable_beta_mixed()->set_factor(mode.factor);
    out.mutable_beta_mixed()->set_b(mode.b);
  }
  void operator()(const position::Yarn& mode) const {
    v1::Yarn& yarn = *out.mutable_yarn();
    yarn.set_factor(mode.factor);
    yarn.set_alpha(mode.alpha);
    yarn.set_beta(mode.beta);
    yarn.set_ramp(mode.ramp == position::Yarn::Ramp::kTurns ? v1::YARN_RAMP_TURNS : v1::YARN_RAMP_INDEX);
  }
  void operator()(const position::Llama3& mode) const {
    v1::Llama3& llama3 = *out.mutable_llama3();
    llama3.set_factor(mode.factor);
    llama3.set_low_freq_factor(mode.low_freq_factor);
    llama3.set_high_freq_factor(mode.high_freq_factor);
  }
  void operator()(const position::PerPair& mode) const {
    v1::PerPair& per_pair = *out.mutable_per_pair();
    per_pair.mutable_factors()->Assign(mode.factors.begin(), mode.factors.end());
    per_pair.set_query_scale(mode.query_scale);
  }
  void operator()(const position::Rerope& mode) const {
    v1::Rerope& rerope = *out.mutable_rerope();
    if (mode.window.has_value()) rerope.set_window(Unsigned(*mode.window));
  }
  void operator()(const position::LeakyRerope& mode) const {
    v1::LeakyRerope& leaky = *out.mutable_leaky_rerope();
    if (mode.window.has_value()) leaky.set_window(Unsigned(*mode.window));
    leaky.set_step(Unsigned(mode.step));
  }
  void operator()(const position::SelfExtend& mode) const {
    v1::SelfExtend& self_extend = *out.mutable_self_extend();
    self_extend.set_group(Unsigned(mode.group));
    if (mode.window.has_value()) self_extend.set_window(Unsigned(*mode.window));
  }
};

absl::Status SetKind(const v1::PositionMode& mode, PositionMode& out) {
  switch (mode.kind_case()) {
    case v1::PositionMode::kAuto: {
      LH_ASSIGN_OR_RETURN(const int64_t tokens,
                          TokensFromWire("position.auto.expected_tokens", mode.auto_().expected_tokens()));
      out.kind = position::Auto{tokens};
      break;
    }
    case v1::PositionMode::kNone:
      out.kind = position::None();
      break;
    case v1::PositionMode::kLinear:
      out.kind = position::Linear{mode.linear().factor()};
      break;
    case v1::PositionMode::kNtk: {
      LH_ASSIGN_OR_RETURN(const position::Ntk::Variant variant, FromWire(mode.ntk().variant()));
      out.kind = position::Ntk{mode.ntk().factor(), variant};
      break;
    }
    case v1::PositionMode::kNtkFixed:
      out.kind = position::NtkFixed{mode.ntk_fixed().factor()};
      break;
    case v1::PositionMode::kBetaMixed: {
      position::BetaMixed mixed{.factor = mode.beta_mixed().factor()};
      if (mode.beta_mixed().has_b()) mixed.b = mode.beta_mixed().b();
      out.kind = mixed;
      break;
    }
    case v1::PositionMode::kYarn: {
      position::Yarn yarn{.factor = mode.yarn().factor()};
      if (mode.yarn().has_alpha()) yarn.alpha = mode.yarn().alpha();
      if (mode.yarn().has_beta()) yarn.beta = mode.yarn().beta();
      LH_ASSIGN_OR_RETURN(yarn.ramp, FromWire(mode.yarn().ramp()));
      out.kind = yarn;
      break;
    }
    case v1::PositionMode::kLlama3: {
      position::Llama3 llama3{.factor = mode.llama3().factor()};
      if (mode.llama3().has_low_freq_factor()) llama3.low_freq_factor = mode.llama3().low_freq_factor();
      if (mode.llama3().has_high_freq_factor()) llama3.high_freq_factor = mode.llama3().high_freq_factor();
      out.kind = llama3;
      break;
    }
    case v1::PositionMode::kPerPair: {
      position::PerPair per_pair;
      per_pair.factors.assign(mode.per_pair().factors().begin(), mode.per_pair().factors().end());
      if (mode.per_pair().has_query_scale()) per_pair.query_scale = mode.per_pair().query_scale();
      out.kind = std::move(per_pair);
      break;
    }
    case v1::PositionMode::kRerope: {
      LH_ASSIGN_OR_RETURN(const auto window, WindowFromWire("position.rerope.window", mode.rerope()));
      out.kind = position::Rerope{window};
      break;
    }
    case v1::PositionMode::kLeakyRerope: {
      LH_ASSIGN_OR_RETURN(const auto window, WindowFromWire("position.leaky_rerope.window", mode.leaky_rerope()));
      LH_ASSIGN_OR_RETURN(const int64_t step, TokensFromWire("position.leaky_rerope.step", mode.leaky_rerope().step()));
      out.kind = position::LeakyRerope{window, step};
      break;
    }
    case v1::PositionMode::kSelfExtend: {
      LH_ASSIGN_OR_RETURN(const auto window, WindowFromWire("position.self_extend.window", mode.self_extend()));
      LH_ASSIGN_OR_RETURN(const int64_t group,
                          TokensFromWire("position.self_extend.group", mode.self_extend().group()));
      out.kind = position::SelfExtend{group, window};
      break;
    }
    case v1::PositionMode::KIND_NOT_SET:
      out.kind = position::Auto();
      break;
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<int64_t> TokensFromWire(const char* field, uint64_t tokens) {
  if (tokens <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return static_cast<int64_t>(tokens);
  return NotAllowed(field, tokens, "below 2^63");
}

absl::StatusOr<PositionMode> FromWire(const v1::PositionMode& mode) {
  PositionMode out;
  LH_RETURN_IF_ERROR(SetKind(mode, out));
  if (mode.has_log_n()) {
    LH_ASSIGN_OR_RETURN(const int64_t length,
                        TokensFromWire("position.log_n.trained_length", mode.log_n().trained_length()));
    out.log_n = position::LogNSwitch{length};
  }
  LH_ASSIGN_OR_RETURN(out.trained_length, TokensFromWire("position.trained_length", mode.trained_length()));
  out.allow_beyond_reach = mode.allow_beyond_reach();
  return out;
}

v1::PositionMode ToWire(const PositionMode& mode) {
  v1::PositionMode out;
  std::visit(KindToWire{out}, mode.kind);
  if (mode.log_n.has_value()) out.mutable_log_n()->set_trained_length(Unsigned(mode.log_n->trained_length));
  out.set_trained_length(Unsigned(mode.trained_length));
  out.set_allow_beyond_reach(mode.allow_beyond_reach);
  return out;
}

v1::ResolvedPlan ToWire(const ResolvedPosition& resolved) {
  const RotaryPlan& plan = resolved.plan;
  v1::ResolvedPlan out;
  *out.mutable_position() = ToWire(resolved.mode);
  out.mutable_frequencies()->Assign(plan.inv_freq.begin(), plan.inv_freq.end());
  if (plan.far.has_value()) {
    v1::FarMap& far = *out.mutable_far();
    far.set_window(Unsigned(plan.far->window));
    far.set_divisor(Unsigned(plan.far->divisor));
    far.set_floor(plan.far->floor);
    far.set_query_offset(plan.far->query_offset);
  }
  out.set_query_scale(plan.query_scale);
  if (plan.log_n.has_value()) out.set_log_n_trained_length(plan.log_n->trained_length);
  out.set_reach(Unsigned(resolved.reach.value_or(0)));
  out.set_past_recommended(resolved.past_recommended);
  out.set_refit(resolved.refit);
  return out;
}

}  // namespace longhaul
