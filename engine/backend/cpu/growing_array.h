#pragma once

#include <cstddef>
#include <cstdint>
#include <new>

#include "engine/base/address_space.h"
#include "engine/base/aligned_array.h"

namespace longhaul::cpu {

// Working memory that keeps its size while that is enough. What it held is lost when it grows, and what had been taken
// when there is no memory for more.
template <typename T>
class GrowingArray {
 public:
  // Not initialised. Throws std::bad_alloc where there is no memory; a large one leaves the address space its reserve.
  T* AtLeast(int64_t n) {
    if (n > size_) {
      memory_ = nullptr;
      size_ = 0;
      const size_t bytes = static_cast<size_t>(n) * sizeof(T);
      if (bytes < kLargeAllocation || LeavesAddressSpaceReserve(bytes)) memory_ = AllocateAligned<T>(n);
      if (memory_ == nullptr) throw std::bad_alloc();
      size_ = n;
    }
    return memory_.get();
  }

 private:
  AlignedArray<T> memory_;
  int64_t size_ = 0;
};

}  // namespace longhaul::cpu
