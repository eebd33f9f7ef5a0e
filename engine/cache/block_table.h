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
  void Reserve(int64_t tokens) { ReserveBlocks(geometry().BlocksFor(tokens)); }

  // Takes blocks until there are `n`. REQUIRES: the pool has them.
  void ReserveBlocks(int64_t n) {
    while (static_cast<int64_t>(blocks_.size()) < n) {
      blocks_.push_back(-1);  // first, since this alone may throw
      blocks_.back() = pool_->Allocate();
    }
  }

  // Takes over a block that the caller holds. Throws nothing where MakeRoom was called for so many.
  void Append(BlockId block) { blocks_.push_back(block); }
  // For `n` blocks in all, which are not taken yet.
  void MakeRoom(int64_t n) { blocks_.reserve(static_cast<size_t>(n)); }

  // Gives all back, the last one first: of a text that stays cached the end is forgotten before the beginning.
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
