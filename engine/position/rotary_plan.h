#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"

namespace longhaul {

// Identity of a plan: 128 bits mixed of its numbers. No cryptographic hash.
using Fingerprint = std::array<uint64_t, 2>;

// From distance `window` on, a key turns by j / divisor (0: not at all) and a query by p / divisor + query_offset;
// `floor` rounds both quotients down. Below it both turn by their own positions.
struct FarRegime {
  int64_t window = 0;  // at least 1
  int64_t divisor = 0;
  bool floor = false;
  double query_offset = 0;

  bool operator==(const FarRegime&) const = default;
};

// A query at position p is multiplied by max(1, ln(p + 1) / ln(trained_length)).
struct LogN {
  double trained_length = 0;  // above 1

  bool operator==(const LogN&) const = default;
};

// How positions turn queries and keys: the numbers that a kernel reads, and all that it knows of a position mode. The
// cache holds each key in its far rotation (without a far regime: turned by its own position).
struct RotaryPlan {
  std::vector<double> inv_freq;  // [rotary_dims / 2] radians per position
  std::optional<FarRegime> far;
  double query_scale = 1;  // multiplies the rotated query; YaRN's temperature squared
  std::optional<LogN> log_n;
  Fingerprint fingerprint{};  // of all the numbers above

  bool operator==(const RotaryPlan&) const = default;
};

// A model's own rotation as its file declares it.
struct ModelRotation {
  enum class Scaling { kNone, kLinear, kYarn };

  int64_t rotary_dims = 0;  // even; dimensions of a head that turn, the rest stay as they are
  double base = 10000;      // theta_i = base^(-2i / rotary_dims)
  Scaling scaling = Scaling::kNone;
  double factor = 1;                // of the declared scaling
  int64_t original_length = 0;      // trained length before the declared scaling; 0 = not declared
  double attention_factor = 1;      // YaRN: multiplies the temperature m = 0.1 ln(factor) + 1
  std::vector<float> pair_factors;  // [rotary_dims / 2] or empty: theta_i is divided by it (rope_freqs.weight)
  std::vector<float> long_factors;  // [rotary_dims / 2] or empty: a table to be asked for (rope_factors_long.weight)
  int64_t trained_length = 0;       // L: what the file declares as its context length
};

// The plan without any extension: the model's own frequencies, its declared scaling included.
// INVALID_ARGUMENT when a number of `rotation` makes no sense.
absl::StatusOr<RotaryPlan> PlainPlan(const ModelRotation& rotation);

// Fills `plan.fingerprint` from its numbers.
void SetFingerprint(RotaryPlan& plan);

}  // namespace longhaul
