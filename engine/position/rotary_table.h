#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/position/rotary_plan.h"

namespace longhaul {

// Cosines and sines of position * inv_freq[i] in f32 for any position, out of two small tables that are rounded from
// double: one of every 256th position, one of 256 positions. A pure function of position and
// frequencies, so equal wherever it is asked. Immutable after construction: any thread may read.
class RotaryTable {
 public:
  // REQUIRES: max_positions > 0.
  RotaryTable(std::span<const double> inv_freq, int64_t max_positions);

  int64_t pairs() const { return pairs_; }

  // Writes cos and sin of `position`, [pairs()] each: one complex product in f32 of two table entries.
  // REQUIRES: 0 <= position < max_positions.
  void Angles(int64_t position, float* cosines, float* sines) const;

 private:
  static constexpr int64_t kStride = 256;

  int64_t pairs_;
  std::vector<float> coarse_;  // [ceil(max_positions / 256)][cos: pairs, sin: pairs]
  std::vector<float> fine_;    // [256][cos: pairs, sin: pairs]
};

}  // namespace longhaul
