#include "client/loadgen/arrivals.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace longhaul::loadgen {
namespace {

using Kind = ArrivalOptions::Kind;

ArrivalOptions Options(Kind kind, double rate, double ramp_to = 1, double ramp_seconds = 1) {
  ArrivalOptions options;
  options.kind = kind;
  options.rate = rate;
  options.ramp_to = ramp_to;
  options.ramp_seconds = ramp_seconds;
  options.seed = 7;
  return options;
}

std::vector<double> Until(const ArrivalOptions& options, double end) {
  Arrivals arrivals(options);
  std::vector<double> times;
  for (auto at = arrivals.Next(); at.has_value() && *at < end; at = arrivals.Next()) times.push_back(*at);
  return times;
}

int64_t Between(const std::vector<double>& times, double begin, double end) {
  int64_t n = 0;
  for (const double time : times) n += time >= begin && time < end ? 1 : 0;
  return n;
}

TEST(ArrivalsTest, ConstantIsEven) {
  EXPECT_EQ(Until(Options(Kind::kConstant, 4), 1), (std::vector<double>{0, 0.25, 0.5, 0.75}));
}

TEST(ArrivalsTest, PoissonHasTheRateAndExponentialGaps) {
  const std::vector<double> times = Until(Options(Kind::kPoisson, 50), 1000);
  EXPECT_NEAR(static_cast<double>(times.size()), 50000, 4 * std::sqrt(50000));
  // Of exponential gaps, exp(-x) are above x times their mean.
  for (const double x : {0.1, 0.5, 1.0, 2.0, 4.0}) {
    int64_t above = 0;
    for (size_t i = 1; i < times.size(); ++i) above += times[i] - times[i - 1] > x / 50 ? 1 : 0;
    EXPECT_NEAR(static_cast<double>(above) / static_cast<double>(times.size()), std::exp(-x), 0.01) << x;
  }
  EXPECT_EQ(times, Until(Options(Kind::kPoisson, 50), 1000)) << "the same seed, the same times";
}

TEST(ArrivalsTest, RampGrowsEvenlyAndStays) {
  for (const auto& [from, to] : {std::pair{10.0, 90.0}, {90.0, 10.0}, {50.0, 50.0}}) {
    const std::vector<double> times = Until(Options(Kind::kRamp, from, to, 400), 600);
    for (double begin = 0; begin < 600; begin += 100) {
      const double middle = std::min(begin + 50, 400.0);
      const double rate = begin >= 400 ? to : from + (to - from) * middle / 400;
      EXPECT_NEAR(static_cast<double>(Between(times, begin, begin + 100)), 100 * rate, 5 * std::sqrt(100 * rate))
          << from << " to " << to << " at " << begin;
    }
    EXPECT_TRUE(std::is_sorted(times.begin(), times.end()));
  }
}

TEST(ArrivalsTest, TraceEnds) {
  ArrivalOptions options = Options(Kind::kTrace, 1);
  options.times = {0, 0.5, 0.5, 3};
  EXPECT_EQ(Until(options, 100), options.times);
}

}  // namespace
}  // namespace longhaul::loadgen
