#pragma once

#include <atomic>
#include <cstdint>

namespace longhaul {

// A counter that only grows. Thread-safe; to add costs one atomic addition.
class Counter {
 public:
  void Add(int64_t n = 1) { value_.fetch_add(n, std::memory_order_relaxed); }
  int64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<int64_t> value_{0};
};

}  // namespace longhaul
