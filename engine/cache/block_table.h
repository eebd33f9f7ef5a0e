#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/cache/block_pool.h"

namespace longhaul {

// The blocks of one row in the order of its tokens; holds them and gives them back. One thread.
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

  // Takes over a block that the caller holds.
  void Append(BlockId block) { blocks_.push_back(block); }

  // Gives all back, the last one first: of a text that stays cached the end is forgotten before the beginning.
  void Clear() {
    while (!blocks_.empty()) {
      pool_->Release(blocks_.back());
      blocks_.pop_back();
    }
  }

  std::span<const BlockId> blocks() const { return blocks_; }

 private:
  BlockPool* pool_;
  std::vector<BlockId> blocks_;
};

}  // namespace longhaul
