#pragma once

#include <cstdint>

#include "engine/backend/cpu/aligned_floats.h"

namespace longhaul::cpu {

// Working memory that keeps its size while that is enough; what it held is lost when it grows.
class GrowingFloats {
 public:
  // Throws std::bad_alloc where there is no memory.
  float* AtLeast(int64_t n) {
    if (n > size_) {
      floats_ = NewFloats(n);
      size_ = n;
    }
    return floats_.get();
  }

 private:
  AlignedFloats floats_;
  int64_t size_ = 0;
};

}  // namespace longhaul::cpu
