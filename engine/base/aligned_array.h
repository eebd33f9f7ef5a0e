#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>

namespace longhaul {

// An array from AllocateAligned.
struct FreeAligned {
  void operator()(void* memory) const { std::free(memory); }
};
template <typename T>
using AlignedArray = std::unique_ptr<T[], FreeAligned>;

// Allocates `count` uninitialised elements: aligned to 64 bytes, from 4 MiB on to huge pages of 2 MiB. Null where there
// is no memory. REQUIRES: count * sizeof(T) fits int64.
template <typename T>
AlignedArray<T> AllocateAligned(int64_t count) {
  constexpr size_t kLargePage = 2 << 20;
  const size_t wanted = static_cast<size_t>(count) * sizeof(T);
  const size_t alignment = wanted >= 2 * kLargePage ? kLargePage : 64;
  const size_t bytes = (std::max<size_t>(wanted, 1) + alignment - 1) / alignment * alignment;
  void* memory = std::aligned_alloc(alignment, bytes);
  if (memory != nullptr && alignment == kLargePage) madvise(memory, bytes, MADV_HUGEPAGE);  // a hint; may fail
  return AlignedArray<T>(static_cast<T*>(memory));
}

}  // namespace longhaul
