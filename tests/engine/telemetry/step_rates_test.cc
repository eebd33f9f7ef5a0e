#include "engine/telemetry/step_rates.h"

#include <gtest/gtest.h>

namespace longhaul {
namespace {

TEST(StepRates, KnowsNothingBeforeTheFirstStep) {
  const StepRates rates;
  EXPECT_FALSE(rates.tokens_per_second().has_value());
  EXPECT_FALSE(rates.SecondsToRead(1000).has_value());
}

TEST(StepRates, ForgetsHowFastItWas) {
  StepRates rates;
  for (int i = 0; i < 1000; ++i) rates.AddStep(0, 8, 0.01);
  EXPECT_NEAR(*rates.tokens_per_second(), 800, 8);
  for (int i = 0; i < 1000; ++i) rates.AddStep(0, 1, 0.1);
  EXPECT_NEAR(*rates.tokens_per_second(), 10, 1);
}

TEST(StepRates, ReadingTakesWhatItTakesTheFastestStep) {
  StepRates rates;
  rates.AddStep(512, 0, 5);  // cold
  EXPECT_FALSE(rates.SecondsToRead(1000).has_value());
  rates.AddStep(512, 0, 0.5);
  EXPECT_NEAR(*rates.SecondsToRead(1024), 1, 1e-9);
  rates.AddStep(512, 100, 2);  // deep in a long text, shared with many
  EXPECT_NEAR(*rates.SecondsToRead(1024), 1, 0.05);
}

TEST(StepRates, ShortPiecesTellNothingOfLongOnes) {
  StepRates rates;
  for (int i = 0; i < 1000; ++i) rates.AddStep(5, 0, 0.02);
  EXPECT_FALSE(rates.SecondsToRead(1000).has_value());
}

TEST(RetryAfter, IsTheTimeThatTheQueueTakesWithinBounds) {
  EXPECT_EQ(RetryAfter(1000, 500), 2);
  EXPECT_EQ(RetryAfter(0, 500), 0.1);
  EXPECT_EQ(RetryAfter(1000000, 500), 60);
  EXPECT_EQ(RetryAfter(1000, std::nullopt), 1);
}

}  // namespace
}  // namespace longhaul
