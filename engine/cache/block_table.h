#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/cache/block_pool.h"

namespace longhaul {

// The blocks of one row, in the order of its tokens. Holds them while it lives. One thread.
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
  void Reserve(int64_t tokens) { ReserveBlocks(geometry().BlocksFor(tokens)); }

  // Takes blocks until there are `n`. REQUIRES: the pool has them.
  void ReserveBlocks(int64_t n) {
    while (static_cast<int64_t>(blocks_.size()) < n) {
      blocks_.push_back(-1);  // before the block is taken: only this may throw
      blocks_.back() = pool_->Allocate();
    }
  }

  // Takes over a block that the caller holds. Throws nothing within the room of MakeRoom.
  void Append(BlockId block) { blocks_.push_back(block); }
  // Makes room for the ids of `n` blocks in all; takes no block.
  void MakeRoom(int64_t n) { blocks_.reserve(static_cast<size_t>(n)); }

  // Releases all blocks, the last one first, so that of a cached text the end is evicted before the beginning.
  void Clear() {
    while (!blocks_.empty()) {
      pool_->Release(blocks_.back());
      blocks_.pop_back();
    }
  }

  std::span<const BlockId> blocks() const { return blocks_; }
  int64_t size() const { return static_cast<int64_t>(blocks_.size()); }
  const CacheGeometry& geometry() const { return pool_->geometry(); }

 private:
  BlockPool* pool_;
  std::vector<BlockId> blocks_;
};

}  // namespace longhaul
