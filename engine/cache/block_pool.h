#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "engine/backend/cache_geometry.h"

namespace longhaul {

// Hands out the blocks of the KV cache by id and counts who holds each. A block that nobody holds is free; if it is
// cached its content may be taken up again until the block is needed for something else. The pages behind the ids
// belong to the backend. One thread.
class BlockPool {
 public:
  explicit BlockPool(const CacheGeometry& geometry);

  const CacheGeometry& geometry() const { return geometry_; }

  int64_t total() const { return static_cast<int64_t>(blocks_.size()); }
  // Blocks that nobody holds, cached ones included.
  int64_t free() const { return static_cast<int64_t>(empty_.size()) + n_idle_; }
  int64_t used() const { return total() - free(); }
  // Free blocks whose content is cached.
  int64_t idle_cached() const { return n_idle_; }

  // A block with one holder: an empty one, else the cached one that has been free the longest, of which on_evict is
  // told first. REQUIRES: free() > 0.
  BlockId Allocate();
  // One holder more. REQUIRES: it is held, or it is cached.
  void Hold(BlockId block);
  // One holder less. REQUIRES: it is held.
  void Release(BlockId block);

  // Whether the block's content may be asked for again. REQUIRES: it is held.
  void SetCached(BlockId block);
  void SetOnEvict(std::function<void(BlockId)> on_evict) { on_evict_ = std::move(on_evict); }

 private:
  struct Block {
    int32_t holders = 0;
    bool cached = false;
    BlockId before = -1, after = -1;  // among the idle cached ones
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
