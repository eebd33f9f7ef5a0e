#include "engine/backend/cpu/matmul/weight_memory.h"

#include "absl/base/config.h"

namespace longhaul::cpu {
namespace {

constexpr int64_t kSlabBytes = 16 << 20;
#ifdef ABSL_HAVE_ADDRESS_SANITIZER
constexpr int64_t kMaxShared = 0;  // so that a read past an array's end is seen
#else
constexpr int64_t kMaxShared = kSlabBytes / 4;
#endif

std::shared_ptr<uint8_t[]> Allocate(int64_t bytes) {
  return std::shared_ptr<uint8_t[]>(AllocateAligned<uint8_t>(bytes));
}

}  // namespace

std::shared_ptr<uint8_t[]> WeightMemory::Take(int64_t bytes) {
  if (bytes > kMaxShared) return Allocate(bytes);
  constexpr int64_t kBorder = 64;
  bytes = (bytes + kBorder - 1) / kBorder * kBorder;
  if (bytes > left_) {
    slab_ = Allocate(kSlabBytes);
    left_ = slab_ == nullptr ? 0 : kSlabBytes;
    if (slab_ == nullptr) return nullptr;
  }
  left_ -= bytes;
  return {slab_, slab_.get() + (kSlabBytes - left_ - bytes)};
}

}  // namespace longhaul::cpu
