#pragma once

#include <cstdint>
#include <vector>

#include "engine/backend/batch.h"

namespace longhaul {

// Hands out the blocks of the KV cache by id. The pages behind the ids belong to the backend. One thread.
class BlockPool {
 public:
  explicit BlockPool(int64_t n_blocks);

  int64_t total() const { return total_; }
  int64_t free() const { return static_cast<int64_t>(free_.size()); }
  int64_t used() const { return total_ - free(); }

  // REQUIRES: free() > 0.
  BlockId Allocate();
  // REQUIRES: `block` was allocated and not freed since.
  void Free(BlockId block);

 private:
  int64_t total_;
  std::vector<BlockId> free_;  // the last one goes out first: its page is the likeliest to be resident
};

}  // namespace longhaul
