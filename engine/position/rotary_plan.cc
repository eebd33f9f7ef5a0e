#include "engine/position/rotary_plan.h"

#include <bit>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "engine/base/mix64.h"
#include "engine/base/status_macros.h"
#include "engine/position/frequency_scaling.h"

namespace longhaul {
namespace {

// A table of the model file: a factor for every pair, or none at all.
absl::Status ValidateTable(const char* tensor, const std::vector<float>& factors, int64_t pairs) {
  if (!factors.empty() && static_cast<int64_t>(factors.size()) != pairs) {
    return absl::InvalidArgumentError(
        absl::StrCat(tensor, " has ", factors.size(), " values, expected ", pairs, " (one per rotary pair)"));
  }
  for (float factor : factors) {
    if (!(factor > 0) || !std::isfinite(factor)) {
      return absl::InvalidArgumentError(absl::StrCat(tensor, " holds ", factor, ": every factor must be positive"));
    }
  }
  return absl::OkStatus();
}

absl::Status Validate(const ModelRotation& r) {
  if (r.rotary_dims <= 0 || r.rotary_dims % 2 != 0) {
    return absl::InvalidArgumentError(absl::StrCat("rotary dimensions ", r.rotary_dims, ": must be positive and even"));
  }
  if (!(r.base > 1) || !std::isfinite(r.base)) {
    return absl::InvalidArgumentError(absl::StrCat("rotary base ", r.base, ": must be a finite number above 1"));
  }
  if (r.scaling != ModelRotation::Scaling::kNone && (!(r.factor >= 1) || !std::isfinite(r.factor))) {
    return absl::InvalidArgumentError(
        absl::StrCat("rotary scaling factor ", r.factor, ": must be a finite number, at least 1"));
  }
  if (!(r.attention_factor > 0) || !std::isfinite(r.attention_factor)) {
    return absl::InvalidArgumentError(
        absl::StrCat("rotary attention factor ", r.attention_factor, ": must be positive"));
  }
  if (r.trained_length <= 0) {
    return absl::InvalidArgumentError(absl::StrCat("trained length ", r.trained_length, ": must be positive"));
  }
  LH_RETURN_IF_ERROR(ValidateTable("rope_freqs.weight", r.pair_factors, r.rotary_dims / 2));
  return ValidateTable("rope_factors_long.weight", r.long_factors, r.rotary_dims / 2);
}

// The declared YaRN scaling: alpha 1, beta 32, the ramp over the pair index.
double DeclaredYarnDivisor(const ModelRotation& r, int64_t pair) {
  const int64_t length = r.original_length > 0 ? r.original_length : r.trained_length;
  return RampDivisor(IndexRampShare(pair, r.rotary_dims, r.base, length, 1, 32), r.factor);
}

}  // namespace

absl::StatusOr<RotaryPlan> PlainPlan(const ModelRotation& rotation) {
  if (absl::Status status = Validate(rotation); !status.ok()) return status;
  RotaryPlan plan;
  const int64_t pairs = rotation.rotary_dims / 2;
  for (int64_t i = 0; i < pairs; ++i) {
    double theta = std::pow(rotation.base, -2.0 * static_cast<double>(i) / static_cast<double>(rotation.rotary_dims));
    if (!rotation.pair_factors.empty()) theta /= static_cast<double>(rotation.pair_factors[static_cast<size_t>(i)]);
    switch (rotation.scaling) {
      case ModelRotation::Scaling::kNone:
        break;
      case ModelRotation::Scaling::kLinear:
        theta /= rotation.factor;
        break;
      case ModelRotation::Scaling::kYarn:
        theta /= DeclaredYarnDivisor(rotation, i);
        break;
    }
    plan.inv_freq.push_back(theta);
  }
  if (rotation.scaling == ModelRotation::Scaling::kYarn) {
    const double temperature = YarnTemperature(rotation.factor) * rotation.attention_factor;
    plan.query_scale = temperature * temperature;
  }
  SetFingerprint(plan);
  return plan;
}

void SetFingerprint(RotaryPlan& plan) {
  uint64_t a = 0x6c6f6e676861756cULL, b = 0x726f746172797031ULL;
  const auto add_bits = [&](uint64_t bits) {
    a = Mix64(a ^ bits);
    b = Mix64(b + bits * 0x9e3779b97f4a7c15ULL);
  };
  const auto add = [&](double number) { add_bits(std::bit_cast<uint64_t>(number)); };
  add_bits(plan.inv_freq.size());
  for (double theta : plan.inv_freq) add(theta);
  add(plan.query_scale);
  // What is there is told first, so that no plan reads as the beginning of another.
  add_bits(plan.far.has_value() ? 1 : 0);
  if (plan.far.has_value()) {
    add_bits(static_cast<uint64_t>(plan.far->window));
    add_bits(static_cast<uint64_t>(plan.far->divisor));
    add_bits(plan.far->floor ? 1 : 0);
    add(plan.far->query_offset);
  }
  add_bits(plan.log_n.has_value() ? 1 : 0);
  if (plan.log_n.has_value()) add(plan.log_n->trained_length);
  plan.fingerprint = {a, b};
}

}  // namespace longhaul
