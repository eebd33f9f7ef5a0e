#include "engine/cache/block_pool.h"

namespace longhaul {

BlockPool::BlockPool(const CacheGeometry& geometry)
    : geometry_(geometry), blocks_(static_cast<size_t>(geometry.n_blocks)) {
  empty_.reserve(blocks_.size());
  for (int64_t id = geometry.n_blocks - 1; id >= 0; --id) empty_.push_back(static_cast<BlockId>(id));
}

BlockId BlockPool::Allocate() {
  BlockId block = first_idle_;
  if (!empty_.empty()) {
    block = empty_.back();
    empty_.pop_back();
  } else {
    if (on_evict_) on_evict_(block);
    Unlink(block);
    At(block).cached = false;
  }
  At(block).holders = 1;
  return block;
}

void BlockPool::Hold(BlockId block) {
  if (At(block).holders++ == 0) Unlink(block);
}

void BlockPool::Release(BlockId block) {
  Block& at = At(block);
  if (--at.holders > 0) return;
  if (at.cached) {
    LinkLast(block);
  } else {
    empty_.push_back(block);
  }
}

void BlockPool::SetCached(BlockId block) {
  At(block).cached = true;
}

void BlockPool::LinkLast(BlockId block) {
  At(block).before = last_idle_;
  At(block).after = -1;
  (last_idle_ >= 0 ? At(last_idle_).after : first_idle_) = block;
  last_idle_ = block;
  ++n_idle_;
}

void BlockPool::Unlink(BlockId block) {
  const Block& at = At(block);
  (at.before >= 0 ? At(at.before).after : first_idle_) = at.after;
  (at.after >= 0 ? At(at.after).before : last_idle_) = at.before;
  --n_idle_;
}

}  // namespace longhaul
