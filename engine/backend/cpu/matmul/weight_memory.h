#pragma once

#include <cstdint>
#include <memory>

#include "engine/base/aligned_array.h"

namespace longhaul::cpu {

// Memory for arrays that live long: small ones share huge pages, because with pages of 4 KiB the page faults would cost
// more than writing the arrays. One thread at a time.
class WeightMemory {
 public:
  // Uninitialised bytes on a border of 64, kept as long as this pointer or a copy is; null when there is no memory.
  std::shared_ptr<uint8_t[]> Take(int64_t bytes);

 private:
  std::shared_ptr<uint8_t[]> slab_;
  int64_t left_ = 0;  // at its end
};

}  // namespace longhaul::cpu
