#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "engine/base/token.h"
#include "engine/cache/block_table.h"
#include "engine/position/rotary_plan.h"

namespace longhaul {

// One row: tokens that are read from position 0 on, and the blocks that hold their keys and values.
struct Sequence {
  Sequence(std::vector<TokenId> prompt, const RotaryPlan& rotary_plan, BlockPool& pool)
      : tokens(std::move(prompt)), plan(&rotary_plan), blocks(pool), ring(pool) {}

  // Blocks that a row of at most `capacity` tokens takes, its near ring included.
  int64_t BlocksNeeded(int64_t capacity) const { return BlocksFor(capacity) + RingBlocks(*plan, capacity); }

  // Takes them. REQUIRES: the pool has them.
  void Reserve(int64_t capacity) {
    blocks.Reserve(capacity);
    ring.ReserveBlocks(RingBlocks(*plan, capacity));
  }

  // Gives all back.
  void Free() {
    blocks.Clear();
    ring.Clear();
    ring_ready = false;
  }

  std::vector<TokenId> tokens;  // prompt and answer so far
  const RotaryPlan* plan;       // fixed while the row lives; not owned
  int64_t n_computed = 0;       // tokens whose keys and values are in the cache
  BlockTable blocks;
  BlockTable ring;          // of near keys, where the plan has a far regime
  bool ring_ready = false;  // see BatchRow
};

}  // namespace longhaul
