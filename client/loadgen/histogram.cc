#include "client/loadgen/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace longhaul::loadgen {
namespace {

constexpr int kBits = 10;  // 1,024 buckets to a doubling

// Times that share their highest kBits + 1 bits share a bucket.
size_t BucketOf(int64_t nanoseconds) {
  const auto n = static_cast<uint64_t>(nanoseconds);
  const int shift = std::max(0, static_cast<int>(std::bit_width(n)) - (kBits + 1));
  return (static_cast<size_t>(shift) << kBits) + static_cast<size_t>(n >> shift);
}

int64_t LowerEnd(size_t bucket) {
  const size_t shift = bucket < (size_t{2} << kBits) ? 0 : (bucket >> kBits) - 1;
  return static_cast<int64_t>(bucket - (shift << kBits)) << shift;
}

}  // namespace

void Histogram::Record(double seconds, int64_t times) {
  if (times <= 0) return;
  constexpr double kMax = 1e9;  // seconds
  const auto n = static_cast<int64_t>(std::llround(std::clamp(seconds, 0.0, kMax) * 1e9));
  const size_t bucket = BucketOf(n);
  if (bucket >= counts_.size()) counts_.resize(bucket + 1);
  counts_[bucket] += times;
  min_ = count_ == 0 ? n : std::min(min_, n);
  max_ = std::max(max_, n);
  sum_ += seconds * static_cast<double>(times);
  count_ += times;
}

void Histogram::Merge(const Histogram& other) {
  if (other.count_ == 0) return;
  if (other.counts_.size() > counts_.size()) counts_.resize(other.counts_.size());
  for (size_t i = 0; i < other.counts_.size(); ++i) counts_[i] += other.counts_[i];
  min_ = count_ == 0 ? other.min_ : std::min(min_, other.min_);
  max_ = std::max(max_, other.max_);
  sum_ += other.sum_;
  count_ += other.count_;
}

double Histogram::Percentile(double percent) const {
  const double share = std::clamp(percent, 0.0, 100.0) / 100;
  // Subtract a little so that rounding of 0.99 * 100 does not make it the 100th.
  const auto rank = std::max(int64_t{1}, static_cast<int64_t>(std::ceil(share * static_cast<double>(count_) - 1e-6)));
  int64_t below = 0;
  for (size_t i = 0; i < counts_.size(); ++i) {
    below += counts_[i];
    if (below >= rank) return static_cast<double>(std::clamp(LowerEnd(i + 1) - 1, min_, max_)) / 1e9;
  }
  return max();
}

std::vector<std::pair<int64_t, int64_t>> Histogram::Buckets() const {
  std::vector<std::pair<int64_t, int64_t>> buckets;
  for (size_t i = 0; i < counts_.size(); ++i) {
    if (counts_[i] > 0) buckets.emplace_back(LowerEnd(i), counts_[i]);
  }
  return buckets;
}

}  // namespace longhaul::loadgen
