#pragma once

#include <cstdint>

#include "engine/backend/cache_geometry.h"

namespace longhaul {

inline constexpr int64_t kBlock = 16;  // tokens of a block

// A cache of so many blocks as the CPU has them.
inline CacheGeometry GeometryOf(int64_t n_blocks) {
  return {.block_tokens = kBlock, .ring_tokens = 2 * kBlock, .block_bytes = 1, .n_blocks = n_blocks};
}

}  // namespace longhaul
