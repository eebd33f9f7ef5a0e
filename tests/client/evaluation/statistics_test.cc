#include "client/evaluation/statistics.h"

#include <gtest/gtest.h>

#include <cmath>

namespace longhaul {
namespace {

Values Of(const std::vector<double>& values) {
  Values made;
  for (size_t i = 0; i < values.size(); ++i) made[{.span_end = static_cast<int64_t>(i)}] = values[i];
  return made;
}

TEST(Statistics, MeanAndItsStandardError) {
  const Estimate e = MeanOf(Of({1, 2, 3, 6}));
  EXPECT_EQ(e.n, 4);
  EXPECT_DOUBLE_EQ(e.mean, 3);
  EXPECT_DOUBLE_EQ(*e.standard_error, std::sqrt((4.0 + 1 + 0 + 9) / 3 / 4));
}

TEST(Statistics, OneSampleHasNoStandardErrorAndNoneHasNoMean) {
  EXPECT_EQ(MeanOf(Of({5})).mean, 5);
  EXPECT_FALSE(MeanOf(Of({5})).standard_error.has_value());
  EXPECT_EQ(MeanOf({}).n, 0);
}

TEST(Statistics, PairsTakeTheHardnessOfASampleAway) {
  const Estimate e = PairedDifference(Of({2.1, 5.1, 9.1}), Of({2, 5, 9}));
  EXPECT_NEAR(e.mean, 0.1, 1e-12);
  EXPECT_NEAR(*e.standard_error, 0, 1e-12);
}

TEST(Statistics, OnlySamplesOfBothArePaired) {
  Values few;
  few[{.span_end = 2}] = 9.5;
  const Estimate e = PairedDifference(few, Of({2, 5, 9}));
  EXPECT_EQ(e.n, 1);
  EXPECT_DOUBLE_EQ(e.mean, 0.5);
  EXPECT_EQ(PairedDifference(few, {}).n, 0);
}

}  // namespace
}  // namespace longhaul
