#include "client/loadgen/histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

namespace longhaul::loadgen {
namespace {

// The definition: the smallest sample that at least `percent` of all do not exceed.
double Exact(std::vector<double> sorted, double percent) {
  std::sort(sorted.begin(), sorted.end());
  const double rank = std::ceil(percent / 100 * static_cast<double>(sorted.size()) - 1e-6);
  return sorted[static_cast<size_t>(std::max(rank, 1.0)) - 1];
}

constexpr double kPercents[] = {0, 1, 10, 25, 50, 75, 90, 95, 99, 99.9, 99.99, 100};

TEST(HistogramTest, PercentilesAreThoseOfTheSortedSamplesToThreeDigits) {
  std::mt19937_64 random(1);
  for (int round = 0; round < 200; ++round) {
    // From nanoseconds to hours, from one sample to thousands.
    const double middle = std::exp(std::uniform_real_distribution(std::log(1e-8), std::log(1e4))(random));
    const double spread = std::uniform_real_distribution(0.0, 3.0)(random);
    std::lognormal_distribution<double> draw(std::log(middle), spread);
    Histogram histogram;
    std::vector<double> samples(1 + random() % 3000);
    for (double& sample : samples) {
      sample = std::min(draw(random), 1e8);
      histogram.Record(sample);
    }
    ASSERT_EQ(histogram.count(), std::ssize(samples));
    for (const double percent : kPercents) {
      const double exact = Exact(samples, percent);
      ASSERT_NEAR(histogram.Percentile(percent), exact, exact / 1000 + 1e-9) << percent << " of " << samples.size();
    }
    EXPECT_NEAR(histogram.max(), *std::max_element(samples.begin(), samples.end()), 1e-9);
    EXPECT_NEAR(histogram.min(), *std::min_element(samples.begin(), samples.end()), 1e-9);
  }
}

TEST(HistogramTest, MergedIsAsIfAllHadBeenRecordedInOne) {
  std::mt19937_64 random(2);
  std::exponential_distribution<double> draw(3);
  Histogram whole, merged;
  for (int part = 0; part < 5; ++part) {
    Histogram one;
    for (int i = 0; i < 100 * part; ++i) {  // the first is empty
      const double sample = draw(random) * std::pow(10.0, part);
      one.Record(sample, 1 + i % 3);
      whole.Record(sample, 1 + i % 3);
    }
    merged.Merge(one);
  }
  EXPECT_EQ(merged.count(), whole.count());
  EXPECT_EQ(merged.Buckets(), whole.Buckets());
  EXPECT_EQ(merged.min(), whole.min());
  EXPECT_EQ(merged.max(), whole.max());
  EXPECT_NEAR(merged.mean(), whole.mean(), 1e-9 * whole.mean());
  for (const double percent : kPercents) EXPECT_EQ(merged.Percentile(percent), whole.Percentile(percent));
}

TEST(HistogramTest, BucketsHoldTheirTimes) {
  Histogram histogram;
  EXPECT_EQ(histogram.Percentile(99), 0);
  EXPECT_TRUE(histogram.Buckets().empty());
  for (const double nanoseconds : {0.0, 1.0, 2047.0, 2048.0, 2049.0, 4095.0, 4096.0})
    histogram.Record(nanoseconds / 1e9);
  histogram.Record(-1);
  using Bucket = std::pair<int64_t, int64_t>;
  EXPECT_EQ(histogram.Buckets(), (std::vector<Bucket>{{0, 2}, {1, 1}, {2047, 1}, {2048, 2}, {4094, 1}, {4096, 1}}));
  EXPECT_EQ(histogram.max(), 4096e-9);
}

}  // namespace
}  // namespace longhaul::loadgen
