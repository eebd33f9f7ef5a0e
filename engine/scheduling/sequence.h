#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "engine/base/token.h"
#include "engine/cache/block_table.h"
#include "engine/cache/prefix_cache.h"
#include "engine/position/rotary_plan.h"

namespace longhaul {

// One row: tokens from position 0 on, and the blocks that hold their keys and values.
struct Sequence {
  Sequence(std::vector<TokenId> prompt, std::shared_ptr<const RotaryPlan> rotary_plan, BlockPool& pool)
      : tokens(std::move(prompt)),
        prompt_tokens(static_cast<int64_t>(tokens.size())),
        plan(std::move(rotary_plan)),
        blocks(pool),
        ring(pool) {}

  // Blocks that a row of `n_tokens` tokens takes that may grow to `capacity`. The near ring of a plan with a far regime
  // is taken whole from the beginning.
  int64_t BlocksNeeded(int64_t n_tokens, int64_t capacity) const {
    return blocks.geometry().BlocksFor(n_tokens) + blocks.geometry().RingBlocks(*plan, capacity);
  }

  // Takes these blocks. REQUIRES: the pool has those that are missing.
  void Reserve(int64_t n_tokens, int64_t capacity) {
    blocks.Reserve(n_tokens);
    ring.ReserveBlocks(ring.geometry().RingBlocks(*plan, capacity));
  }
  int64_t blocks_held() const { return blocks.size() + ring.size(); }

  // Releases all blocks: no token is computed any more.
  void Free() {
    blocks.Clear();
    ring.Clear();
    ring_ready = false;
    n_submitted = n_computed = n_published = 0;
  }

  // Hot fields first: touched once per token.
  std::vector<TokenId> tokens;             // prompt and answer so far
  int64_t prompt_tokens;                   // of these
  std::shared_ptr<const RotaryPlan> plan;  // fixed while the row lives
  int64_t n_submitted = 0;  // tokens whose keys and values are in the cache, or will be after the steps in flight
  int64_t n_computed = 0;   // tokens whose keys and values are in the cache
  // Leading blocks that came from the prefix cache or were published to it; `prefix` is their hash.
  int64_t n_published = 0;
  bool ring_ready = false;  // see BatchRow; after the steps in flight
  BlockTable blocks;
  BlockTable ring;  // of near keys, where the plan has a far regime
  PrefixHash prefix;
};

}  // namespace longhaul
