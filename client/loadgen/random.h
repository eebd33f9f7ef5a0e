#pragma once

#include <cmath>
#include <cstdint>
#include <numbers>

#include "engine/base/mix64.h"

namespace longhaul::loadgen {

// Random numbers keyed by (seed, purpose, index): a request's numbers do not depend on the order in which requests are
// made, and are the same on every machine.
class Random {
 public:
  // One for each thing that is drawn.
  enum class Purpose : uint64_t {
    kArrivals,
    kLengths,
    kPosition,
    kPrefix,
    kCancel,
    kTokens,
    kSharedTokens,
    kRun,
    kNbce,
    kDocument
  };

  Random(uint64_t seed, Purpose purpose, uint64_t index = 0)
      : state_(Mix(Mix(Mix(seed) + static_cast<uint64_t>(purpose)) + index)) {}

  uint64_t Next() {
    state_ += kStep;
    return Mix(state_);
  }
  // 0 <= x < 1
  double Uniform() { return static_cast<double>(Next() >> 11) * 0x1p-53; }
  // 0 <= x < n. REQUIRES: n > 0
  int64_t Below(int64_t n) { return static_cast<int64_t>(Uniform() * static_cast<double>(n)); }
  // Mean 1.
  double Exponential() { return -std::log1p(-Uniform()); }
  // Mean 0, variance 1 (Box and Muller).
  double Normal() {
    const double radius = std::sqrt(2 * Exponential());
    return radius * std::cos(2 * std::numbers::pi * Uniform());
  }

 private:
  static constexpr uint64_t kStep = 0x9e3779b97f4a7c15;
  static uint64_t Mix(uint64_t z) { return Mix64(z + kStep); }

  uint64_t state_;
};

}  // namespace longhaul::loadgen
