#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/cache/block_pool.h"

namespace longhaul {

// The blocks of one row in the order of its tokens; owns them and gives them back. One thread.
class BlockTable {
 public:
  // `pool` is not owned and outlives it.
  explicit BlockTable(BlockPool& pool) : pool_(&pool) {}
  ~BlockTable() { Clear(); }
  BlockTable(BlockTable&& other) noexcept : pool_(other.pool_), blocks_(std::move(other.blocks_)) {
    other.blocks_.clear();
  }
  BlockTable& operator=(BlockTable&&) = delete;

  // Takes blocks until `tokens` tokens have room. REQUIRES: the pool has them.
  void Reserve(int64_t tokens) { ReserveBlocks(BlocksFor(tokens)); }

  // Takes blocks until there are `n`. REQUIRES: the pool has them.
  void ReserveBlocks(int64_t n) {
    while (static_cast<int64_t>(blocks_.size()) < n) blocks_.push_back(pool_->Allocate());
  }

  void Clear() {
    for (BlockId block : blocks_) pool_->Free(block);
    blocks_.clear();
  }

  std::span<const BlockId> blocks() const { return blocks_; }

 private:
  BlockPool* pool_;
  std::vector<BlockId> blocks_;
};

}  // namespace longhaul
