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
      : tokens(std::move(prompt)), plan(&rotary_plan), blocks(pool) {}

  std::vector<TokenId> tokens;  // prompt and answer so far
  const RotaryPlan* plan;       // fixed while the row lives; not owned
  int64_t n_computed = 0;       // tokens whose keys and values are in the cache
  BlockTable blocks;
};

}  // namespace longhaul
