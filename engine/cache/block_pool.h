#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "engine/backend/cache_geometry.h"

namespace longhaul {

// Hands out the blocks of the KV cache by id and counts the holders of each. A block without holders is free. A free
// block that is cached keeps its content and may be held again, until it is evicted: reused for something else. The
// memory behind the ids belongs to the backend. One thread.
class BlockPool {
 public:
  explicit BlockPool(const CacheGeometry& geometry);

  const CacheGeometry& geometry() const { return geometry_; }

  int64_t total() const { return static_cast<int64_t>(blocks_.size()); }
  // Free blocks, cached ones included.
  int64_t free() const { return static_cast<int64_t>(empty_.size()) + n_idle_; }
  int64_t used() const { return total() - free(); }
  // Free blocks whose content is cached.
  int64_t idle_cached() const { return n_idle_; }

  // Takes a free block, which then has one holder: one that is not cached, else the cached one that has been free the
  // longest, which is evicted (on_evict is told first). REQUIRES: free() > 0.
  BlockId Allocate();
  // Adds a holder. REQUIRES: it is held, or it is cached.
  void Hold(BlockId block);
  // Removes a holder. REQUIRES: it is held.
  void Release(BlockId block);

  // Marks the content of a block as worth keeping: when nobody holds it any more, it stays until it is evicted.
  // REQUIRES: it is held.
  void SetCached(BlockId block);
  // Sets what is called with each block that is evicted.
  void SetOnEvict(std::function<void(BlockId)> on_evict) { on_evict_ = std::move(on_evict); }

 private:
  struct Block {
    int32_t holders = 0;
    bool cached = false;
    BlockId before = -1, after = -1;  // neighbours in the list of free cached blocks
  };

  Block& At(BlockId block) { return blocks_[static_cast<size_t>(block)]; }
  void LinkLast(BlockId block);
  void Unlink(BlockId block);

  const CacheGeometry geometry_;
  std::vector<Block> blocks_;
  std::vector<BlockId> empty_;  // the last one goes out first: its page is the likeliest to be resident
  // Free cached blocks, the one that became free first at the front.
  BlockId first_idle_ = -1, last_idle_ = -1;
  int64_t n_idle_ = 0;
  std::function<void(BlockId)> on_evict_;
};

}  // namespace longhaul
