#include "engine/position/rotary_table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace longhaul {
namespace {

std::vector<double> PlainFrequencies(double base, int64_t dims) {
  std::vector<double> inv_freq;
  for (int64_t i = 0; i < dims / 2; ++i) {
    inv_freq.push_back(std::pow(base, -2.0 * static_cast<double>(i) / static_cast<double>(dims)));
  }
  return inv_freq;
}

TEST(RotaryTable, IsTheDoublePrecisionAngleUpTo131072) {
  constexpr int64_t kPositions = 131073;
  const std::vector<double> inv_freq = PlainFrequencies(100000, 64);
  const RotaryTable table(inv_freq, kPositions);
  ASSERT_EQ(table.pairs(), 32);
  std::vector<float> cosines(32), sines(32);
  double worst = 0;
  const auto check = [&](int64_t position) {
    table.Angles(position, cosines.data(), sines.data());
    for (size_t i = 0; i < inv_freq.size(); ++i) {
      const double angle = static_cast<double>(position) * inv_freq[i];
      worst = std::max({worst, std::abs(static_cast<double>(cosines[i]) - std::cos(angle)),
                        std::abs(static_cast<double>(sines[i]) - std::sin(angle))});
    }
  };
  for (int64_t position = 0; position < 1024; ++position) check(position);
  for (int64_t position = 1024; position < kPositions; position += 37) check(position);
  check(kPositions - 1);
  // Each product of two entries rounds by at most 3 * 2^-24; float angles would be off by 4e-3 here.
  EXPECT_LT(worst, 3e-7);
}

TEST(RotaryTable, IsTheSameWhateverItsLength) {
  const std::vector<double> inv_freq = PlainFrequencies(10000, 8);
  const RotaryTable small(inv_freq, 300), large(inv_freq, 100000);
  std::vector<float> a(8), b(8);
  for (int64_t position : {0, 1, 255, 256, 299}) {
    small.Angles(position, a.data(), a.data() + 4);
    large.Angles(position, b.data(), b.data() + 4);
    EXPECT_EQ(a, b);
  }
}

}  // namespace
}  // namespace longhaul
