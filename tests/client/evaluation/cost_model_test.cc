#include "client/evaluation/cost_model.h"

#include <gtest/gtest.h>

#include "client/evaluation/progress.h"

namespace longhaul {
namespace {

double Truth(double n) {
  return 2e-3 * n + 3e-7 * n * n;
}

TEST(CostModel, KnowsNothingBeforeItSawARequest) {
  CostModel model(1e-4);
  EXPECT_EQ(model.Seconds(1000), 0);
  model.Observe(0, 1);
  model.Observe(10, 0);
  EXPECT_EQ(model.Seconds(1000), 0);
}

TEST(CostModel, OneLengthIsScaledByTheShapesRatio) {
  CostModel model(1.5e-4);  // the true one
  model.Observe(4096, Truth(4096));
  model.Observe(4096, Truth(4096));
  EXPECT_NEAR(model.Seconds(16384), Truth(16384), 1e-6);
}

TEST(CostModel, TwoLengthsGiveBothTerms) {
  CostModel model(1e-2);  // far from the truth
  model.Observe(4096, Truth(4096));
  model.Observe(8192, Truth(8192));
  EXPECT_NEAR(model.Seconds(24576), Truth(24576), 1e-6);
}

TEST(CostModel, NoiseNeverMakesTimeNegative) {
  CostModel model(1e-4);
  model.Observe(4096, 50);
  model.Observe(8192, 1);
  EXPECT_GT(model.Seconds(24576), model.Seconds(4096));
  EXPECT_GT(model.Seconds(4096), 0);
}

TEST(CostModel, LateTokensCostMore) {
  CostModel model(1e-4);
  EXPECT_LT(model.ShareDone(5000, 10000), 0.5);
  model.Observe(8192, Truth(8192));
  EXPECT_LT(model.ShareDone(5000, 10000), 0.5);
  EXPECT_DOUBLE_EQ(model.ShareDone(10000, 10000), 1);
}

TEST(ProgressLine, WritesTimes) {
  EXPECT_EQ(ProgressLine::TimeText(5), "0:05");
  EXPECT_EQ(ProgressLine::TimeText(605.4), "10:05");
  EXPECT_EQ(ProgressLine::TimeText(3725), "1:02:05");
}

}  // namespace
}  // namespace longhaul
