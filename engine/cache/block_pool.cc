#include "engine/cache/block_pool.h"

namespace longhaul {

BlockPool::BlockPool(int64_t n_blocks) : total_(n_blocks) {
  free_.reserve(static_cast<size_t>(n_blocks));
  for (int64_t id = n_blocks - 1; id >= 0; --id) free_.push_back(static_cast<BlockId>(id));
}

BlockId BlockPool::Allocate() {
  const BlockId block = free_.back();
  free_.pop_back();
  return block;
}

void BlockPool::Free(BlockId block) {
  free_.push_back(block);
}

}  // namespace longhaul
