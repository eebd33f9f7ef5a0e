#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <span>
#include <vector>

namespace longhaul {

// Counts values by bucket, and sums them. Values are integers (tokens, rows, nanoseconds), so that sums are exact.
// Thread-safe; to observe costs a binary search and two atomic additions.
class Histogram {
 public:
  // Counts are of each bucket alone, not cumulative.
  struct Snapshot {
    std::span<const int64_t> bounds;  // the largest value of each bucket but the last, which has no bound; ascending
    std::vector<int64_t> counts;      // [bounds + 1]
    int64_t sum = 0;

    int64_t count() const;
  };

  // `bounds` (ascending) outlives it and its snapshots.
  explicit Histogram(std::span<const int64_t> bounds) : bounds_(bounds), counts_(bounds.size() + 1) {}

  void Observe(int64_t value);
  void Observe(std::chrono::nanoseconds time) { Observe(time.count()); }

  // count() is always the sum of the buckets; `sum` may lack values that are being observed at this moment.
  Snapshot Read() const;

 private:
  const std::span<const int64_t> bounds_;
  std::vector<std::atomic<int64_t>> counts_;
  std::atomic<int64_t> sum_{0};
};

}  // namespace longhaul
