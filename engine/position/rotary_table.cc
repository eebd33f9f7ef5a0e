#include "engine/position/rotary_table.h"

#include <cmath>

namespace longhaul {
namespace {

void AppendAngles(std::span<const double> inv_freq, int64_t position, std::vector<float>& table) {
  for (double frequency : inv_freq)
    table.push_back(static_cast<float>(std::cos(static_cast<double>(position) * frequency)));
  for (double frequency : inv_freq)
    table.push_back(static_cast<float>(std::sin(static_cast<double>(position) * frequency)));
}

}  // namespace

RotaryTable::RotaryTable(std::span<const double> inv_freq, int64_t max_positions)
    : pairs_(static_cast<int64_t>(inv_freq.size())) {
  for (int64_t position = 0; position < max_positions; position += kStride) AppendAngles(inv_freq, position, coarse_);
  for (int64_t position = 0; position < kStride; ++position) AppendAngles(inv_freq, position, fine_);
}

void RotaryTable::Angles(int64_t position, float* cosines, float* sines) const {
  const float* coarse = coarse_.data() + position / kStride * 2 * pairs_;
  const float* fine = fine_.data() + position % kStride * 2 * pairs_;
  for (int64_t i = 0; i < pairs_; ++i) {
    const float coarse_cos = coarse[i], coarse_sin = coarse[pairs_ + i];
    const float fine_cos = fine[i], fine_sin = fine[pairs_ + i];
    cosines[i] = coarse_cos * fine_cos - coarse_sin * fine_sin;
    sines[i] = coarse_sin * fine_cos + coarse_cos * fine_sin;
  }
}

}  // namespace longhaul
