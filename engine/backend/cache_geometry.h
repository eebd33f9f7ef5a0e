#pragma once

#include <algorithm>
#include <cstdint>

#include "engine/position/rotary_plan.h"

namespace longhaul {

// The id of a block of the KV cache, which holds CacheGeometry::block_tokens tokens of all layers.
using BlockId = int32_t;

// How the cache of a backend is cut into blocks. The numbers are the backend's choice and known only at run time.
struct CacheGeometry {
  int64_t block_tokens = 0;  // tokens whose keys and values a block holds
  int64_t ring_tokens = 0;   // tokens whose near keys a block of a near ring holds (it has no values)
  int64_t block_bytes = 0;   // of all layers
  int64_t n_blocks = 0;      // ids 0..n_blocks-1

  // Tokens that all blocks hold.
  int64_t tokens() const { return n_blocks * block_tokens; }

  // Blocks that `n` tokens take.
  int64_t BlocksFor(int64_t n) const { return CeilDivide(n, block_tokens); }

  // Blocks of the ring that keeps the near keys of the last tokens of a row of at most `capacity` tokens, 0 where the
  // plan has no far regime. A ring keeps whole blocks of tokens, and a window may straddle one more than it fills.
  int64_t RingBlocks(const RotaryPlan& plan, int64_t capacity) const {
    if (!plan.far.has_value()) return 0;
    const int64_t touched = BlocksFor(plan.far->window - 1) + 1;
    return CeilDivide(std::min(touched, BlocksFor(capacity)) * block_tokens, ring_tokens);
  }

 private:
  static int64_t CeilDivide(int64_t n, int64_t by) { return n / by + (n % by != 0 ? 1 : 0); }
};

}  // namespace longhaul
