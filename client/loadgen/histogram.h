#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace longhaul::loadgen {

// Times, counted in buckets: one for each nanosecond below 2,048, from there on 1,024 to every doubling. So a
// percentile is off by at most 1/1,024 of itself (3 significant digits), whatever its size. Copyable; not thread-safe.
class Histogram {
 public:
  // Negative times count as 0.
  void Record(double seconds, int64_t times = 1);

  // What both hold.
  void Merge(const Histogram& other);

  int64_t count() const { return count_; }
  // Exact. 0 while empty.
  double min() const { return count_ == 0 ? 0 : static_cast<double>(min_) / 1e9; }
  double max() const { return static_cast<double>(max_) / 1e9; }
  double mean() const { return count_ == 0 ? 0 : sum_ / static_cast<double>(count_); }

  // The smallest time (its bucket's upper end) that at least `percent` of all times do not exceed. 0 while empty.
  double Percentile(double percent) const;

  // Lower end in nanoseconds and count of every bucket that is not empty, in order.
  std::vector<std::pair<int64_t, int64_t>> Buckets() const;

 private:
  int64_t count_ = 0, min_ = 0, max_ = 0;  // nanoseconds
  double sum_ = 0;                         // seconds
  std::vector<int64_t> counts_;
};

}  // namespace longhaul::loadgen
