#include "engine/base/histogram.h"

#include <algorithm>
#include <numeric>

namespace longhaul {

int64_t Histogram::Snapshot::count() const {
  return std::accumulate(counts.begin(), counts.end(), int64_t{0});
}

void Histogram::Observe(int64_t value) {
  const auto bucket = std::lower_bound(bounds_.begin(), bounds_.end(), value) - bounds_.begin();
  counts_[static_cast<size_t>(bucket)].fetch_add(1, std::memory_order_relaxed);
  sum_.fetch_add(value, std::memory_order_relaxed);
}

Histogram::Snapshot Histogram::Read() const {
  Snapshot snapshot{bounds_, {}, sum_.load(std::memory_order_relaxed)};
  snapshot.counts.reserve(counts_.size());
  for (const std::atomic<int64_t>& count : counts_) snapshot.counts.push_back(count.load(std::memory_order_relaxed));
  return snapshot;
}

}  // namespace longhaul
