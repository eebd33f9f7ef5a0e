#include "engine/position/rotary_plan.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numbers>

#include "absl/strings/str_cat.h"

namespace longhaul {
namespace {

// splitmix64's finalizer: a bijection that mixes all bits.
uint64_t Mix(uint64_t x) {
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9ULL;
  x ^= x >> 27;
  x *= 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
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
  if (!r.pair_factors.empty() && static_cast<int64_t>(r.pair_factors.size()) != r.rotary_dims / 2) {
    return absl::InvalidArgumentError(absl::StrCat("rope_freqs.weight has ", r.pair_factors.size(),
                                                   " values, expected ", r.rotary_dims / 2, " (one per rotary pair)"));
  }
  for (float factor : r.pair_factors) {
    if (!(factor > 0) || !std::isfinite(factor)) {
      return absl::InvalidArgumentError(
          absl::StrCat("rope_freqs.weight holds ", factor, ": every factor must be positive"));
    }
  }
  return absl::OkStatus();
}

// The weight of the unscaled frequency of pair i in YaRN, 1 for fast pairs and 0 for slow ones: the ramp over the pair
// index of the authors' code (github.com/jquesnelle/yarn; alpha 1, beta 32), not the one over turns of their paper.
double YarnUnscaledShare(const ModelRotation& r, double pair) {
  const double dims = static_cast<double>(r.rotary_dims);
  const double length = static_cast<double>(r.original_length > 0 ? r.original_length : r.trained_length);
  const auto pair_of_turns = [&](double turns) {
    return dims * std::log(length / (turns * 2 * std::numbers::pi)) / (2 * std::log(r.base));
  };
  const double low = std::max(std::floor(pair_of_turns(32)), 0.0);
  double high = std::min(std::ceil(pair_of_turns(1)), dims - 1);
  if (high == low) high += 0.001;
  return 1 - std::clamp((pair - low) / (high - low), 0.0, 1.0);
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
      case ModelRotation::Scaling::kYarn: {
        const double share = YarnUnscaledShare(rotation, static_cast<double>(i));
        theta *= (1 - share) / rotation.factor + share;
        break;
      }
    }
    plan.inv_freq.push_back(theta);
  }
  if (rotation.scaling == ModelRotation::Scaling::kYarn) {
    const double temperature = (0.1 * std::log(rotation.factor) + 1) * rotation.attention_factor;
    plan.query_scale = temperature * temperature;
  }
  plan.reach = rotation.trained_length;
  SetFingerprint(plan);
  return plan;
}

void SetFingerprint(RotaryPlan& plan) {
  uint64_t a = 0x6c6f6e676861756cULL, b = 0x726f746172797031ULL;
  const auto add = [&](double number) {
    const uint64_t bits = std::bit_cast<uint64_t>(number);
    a = Mix(a ^ bits);
    b = Mix(b + bits * 0x9e3779b97f4a7c15ULL);
  };
  for (double theta : plan.inv_freq) add(theta);
  add(plan.query_scale);
  plan.fingerprint = {a, b};
}

}  // namespace longhaul
