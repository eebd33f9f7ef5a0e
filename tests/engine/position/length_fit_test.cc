#include "engine/position/length_fit.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>

namespace longhaul {
namespace {

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

TEST(FitFactor, TakesTheSmallestRungThatHolds) {
  const int64_t trained = 8192;
  EXPECT_EQ(FitFactor(1, trained), 1);
  EXPECT_EQ(FitFactor(trained, trained), 1);
  const double rungs[] = {1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64};
  for (size_t i = 0; i + 1 < std::size(rungs); ++i) {
    const int64_t held = ReachOfFactor(rungs[i], trained);
    EXPECT_EQ(FitFactor(held, trained), rungs[i]);
    EXPECT_EQ(FitFactor(held + 1, trained), rungs[i + 1]);
  }
}

TEST(FitFactor, CountsWholeTokensOfAnOddLength) {
  EXPECT_EQ(ReachOfFactor(1.5, 5), 7);
  EXPECT_EQ(FitFactor(7, 5), 1.5);
  EXPECT_EQ(FitFactor(8, 5), 2);
}

// Leaky ReRoPE of L = 512 in kexue.fm 9728: w 128 at 4096 tokens is within L / 2 with step 32, not with 16.
TEST(FitStep, TakesTheSmallestPowerOfTwoWithinHalf) {
  EXPECT_EQ(FitStep(128, 4096, 512), 32);
  EXPECT_EQ(FitStep(128, 128 + 32 * 128, 512), 32);
  EXPECT_EQ(FitStep(128, 128 + 32 * 128 + 1, 512), 64);
  EXPECT_EQ(FitStep(128, 256, 512), 1);
  EXPECT_EQ(FitStep(128, 257, 512), 2);
  EXPECT_EQ(FitStep(128, 100, 512), 1);
  EXPECT_EQ(FitStep(2, 8, 5), 16);  // half a token of room: 2 + 6 / 16 <= 2.5
  EXPECT_FALSE(WithinHalf(2, 8, 8, 5));
  EXPECT_TRUE(WithinHalf(2, 16, 8, 5));
}

TEST(FitGroup, TakesTheSmallestWithinTwoThirds) {
  EXPECT_EQ(FitGroup(1024, 4096, 6144), 1);  // 4096 = 2 L / 3
  EXPECT_EQ(FitGroup(1024, 4097, 6144), 2);
  EXPECT_EQ(FitGroup(1024, 1024 + 3 * 3072, 6144), 3);
  EXPECT_EQ(FitGroup(1024, 1024 + 3 * 3072 + 1, 6144), 4);
  EXPECT_EQ(FitGroup(1024, 500, 6144), 1);
  EXPECT_EQ(FitGroup(1, 1 + 7, 4), 5);  // room for 5 / 3 tokens: 7 / 5 is the first below
}

TEST(Reach, IsWhereTheLastDistanceCountsAsTheTrainedLength) {
  EXPECT_EQ(ReachOfFactor(4, 8192), 32768);
  EXPECT_EQ(ReachOfStep(2048, 8, 8192), 2048 + 8 * 6144);
  EXPECT_EQ(ReachOfStep(2048, 1, 8192), 8192);
  EXPECT_EQ(ReachOfStep(8192, 8, 8192), 8192);
  EXPECT_EQ(ReachOfStep(9000, 8, 8192), 8192);
  EXPECT_EQ(ReachOfFactor(1e-6, 8192), 1);  // 0 would mean no bound on the wire
}

TEST(Reach, StopsAtTheLargestNumber) {
  EXPECT_EQ(SaturatingProduct(kMax, 2), kMax);
  EXPECT_EQ(SaturatingProduct(kMax, 0), 0);
  EXPECT_EQ(SaturatingProduct(kMax, 1), kMax);
  EXPECT_EQ(SaturatingProduct(int64_t{1} << 31, int64_t{1} << 31), int64_t{1} << 62);
  EXPECT_EQ(SaturatingSum(kMax - 1, 1), kMax);
  EXPECT_EQ(SaturatingSum(kMax, kMax), kMax);
  EXPECT_EQ(ReachOfFactor(1e300, 8192), kMax);
  EXPECT_EQ(ReachOfStep(1, kMax, kMax), kMax);
  EXPECT_GE(FitFactor(kMax, 2), 4e18);
  EXPECT_EQ(FitStep(1, kMax, 3), int64_t{1} << 62);
  EXPECT_EQ(FitGroup(1, kMax, 2), kMax);
  EXPECT_GE(FitGroup(1, kMax, kMax), 1);
}

}  // namespace
}  // namespace longhaul
