#include "engine/base/histogram.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <thread>
#include <vector>

#include "engine/base/counter.h"

namespace longhaul {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

constexpr std::array<int64_t, 3> kBounds = {10, 20, 40};

TEST(Histogram, BeginsAtZero) {
  const Histogram::Snapshot snapshot = Histogram(kBounds).Read();
  EXPECT_THAT(snapshot.counts, ElementsAre(0, 0, 0, 0));
  EXPECT_EQ(snapshot.count(), 0);
  EXPECT_EQ(snapshot.sum, 0);
}

TEST(Histogram, ABoundBelongsToItsBucket) {
  Histogram histogram(kBounds);
  for (int64_t value : {0, 10, 11, 20, 40, 41, 1000000}) histogram.Observe(value);
  EXPECT_THAT(histogram.Read().counts, ElementsAre(2, 2, 1, 2));
  EXPECT_EQ(histogram.Read().sum, 1000122);
}

TEST(Histogram, TakesTimesInNanoseconds) {
  Histogram histogram(kBounds);
  histogram.Observe(std::chrono::nanoseconds(15));
  EXPECT_THAT(histogram.Read().counts, ElementsAre(0, 1, 0, 0));
}

TEST(Histogram, LosesNothingWhileItIsRead) {
  constexpr int kThreads = 4, kValues = 20000;
  Histogram histogram(kBounds);
  Counter counter;
  std::atomic<bool> ended = false;
  std::thread reader([&] {
    int64_t before = 0;
    while (!ended) {
      const int64_t now = histogram.Read().count();
      EXPECT_GE(now, before);
      before = now;
    }
  });
  std::vector<std::thread> writers;
  for (int thread = 0; thread < kThreads; ++thread) {
    writers.emplace_back([&] {
      for (int i = 0; i < kValues; ++i) {
        histogram.Observe(int64_t{i % 4} * 15);
        counter.Add();
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  ended = true;
  reader.join();
  EXPECT_THAT(histogram.Read().counts, Each(kThreads * kValues / 4));
  EXPECT_EQ(histogram.Read().sum, int64_t{kThreads} * kValues / 4 * (0 + 15 + 30 + 45));
  EXPECT_EQ(counter.value(), kThreads * kValues);
}

}  // namespace
}  // namespace longhaul
