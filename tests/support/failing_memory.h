#pragma once

#include <cstdint>

// The memory of this program, which ends when a test says so: who links this has its operator new and aligned_alloc
// replaced.
namespace longhaul {

// From the `first`-th allocation from now on, counted from 0 over all threads but those that are spared, so many fail.
void FailAllocations(int64_t first, int64_t count);
// All succeed again; returns how many have failed.
int64_t RestoreAllocations();

struct AllocationCounts {
  int64_t small = 0, large = 0;
};
// From now on all allocations of all threads are counted, those of `large_bytes` or more as large ones.
void CountAllocations(int64_t large_bytes);
// No longer; returns how many there were.
AllocationCounts StopCounting();

// The calling thread's allocations neither count nor fail while this lives.
class SparedThread {
 public:
  SparedThread();
  ~SparedThread();
  SparedThread(const SparedThread&) = delete;
  SparedThread& operator=(const SparedThread&) = delete;
};

}  // namespace longhaul
