#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

#include "engine/base/address_space.h"

namespace longhaul::cpu {

struct FreeDeleter {
  void operator()(void* memory) const { std::free(memory); }
};
using AlignedFloats = std::unique_ptr<float[], FreeDeleter>;

// Allocates `n` uninitialised floats, aligned to 64 bytes; large ones become resident when they are first written. Null
// where there is no memory or `n` is negative.
inline AlignedFloats AllocateFloats(int64_t n) {
  constexpr int64_t kAlignment = 64, kMax = INT64_MAX / 8;
  if (n < 0 || n > kMax) return nullptr;
  const int64_t bytes = (n * static_cast<int64_t>(sizeof(float)) / kAlignment + 1) * kAlignment;
  return AlignedFloats(static_cast<float*>(std::aligned_alloc(kAlignment, static_cast<size_t>(bytes))));
}

// As AllocateFloats, but throws std::bad_alloc instead of returning null, and leaves the address space its reserve.
inline AlignedFloats NewFloats(int64_t n) {
  const size_t bytes = static_cast<size_t>(n) * sizeof(float);
  if (bytes >= kLargeAllocation && !LeavesAddressSpaceReserve(bytes)) throw std::bad_alloc();
  AlignedFloats floats = AllocateFloats(n);
  if (floats == nullptr) throw std::bad_alloc();
  return floats;
}

}  // namespace longhaul::cpu
