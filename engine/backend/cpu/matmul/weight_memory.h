#pragma once

#include <cstdint>
#include <memory>

#include "engine/base/aligned_array.h"

namespace longhaul::cpu {

// Memory for arrays that stay: small ones lie together on large pages. On pages of 4 KiB, taking the pages costs more
// than writing into them. One thread at a time.
class WeightMemory {
 public:
  // Uninitialised bytes on a border of 64, kept as long as this pointer or a copy is; null when there is no memory.
  std::shared_ptr<uint8_t[]> Take(int64_t bytes);

 private:
  std::shared_ptr<uint8_t[]> slab_;
  int64_t left_ = 0;  // at its end
};

}  // namespace longhaul::cpu
