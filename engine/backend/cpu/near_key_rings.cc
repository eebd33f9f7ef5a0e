#include "engine/backend/cpu/near_key_rings.h"

#include <algorithm>
#include <cstring>

#include "engine/backend/cpu/rotate_and_store.h"

namespace longhaul::cpu {

void NearKeyRings::BeginStep(const Batch& batch, std::span<const PlanAngles* const> plans) {
  batch_ = &batch;
  rows_.assign(batch.rows.size(), {});
  restores_.clear();
  keeps_.clear();
  scratch_floats_ = angle_floats_ = 0;
  for (size_t row = 0; row < batch.rows.size(); ++row) {
    const PlanAngles& plan = *plans[static_cast<size_t>(batch.rows[row].plan)];
    if (plan.window() > 0) PlanRow(static_cast<int64_t>(row), plan);
  }
  scratch_ = scratch_memory_.AtLeast(scratch_floats_);
  angles_ = angle_memory_.AtLeast(angle_floats_);
  FillAngles();
}

void NearKeyRings::PlanRow(int64_t row, const PlanAngles& plan) {
  const BatchRow& r = batch_->rows[static_cast<size_t>(row)];
  RowNear& near = rows_[static_cast<size_t>(row)];
  const int64_t first_near = std::max<int64_t>(0, r.length - plan.window() + 1);
  const int64_t first_new_block = r.length / kBlockTokens;
  const int64_t last_block = (r.length + r.n_new - 1) / kBlockTokens;
  const int64_t halves = 2 * static_cast<int64_t>(r.ring_table.size());
  near.first_scratch_block = std::numeric_limits<int64_t>::max();
  if (last_block - first_near / kBlockTokens + 1 > halves) {
    near.first_scratch_block = first_new_block;
    near.scratch = scratch_floats_;
    scratch_floats_ += (last_block - first_new_block + 1) * half_bytes() / static_cast<int64_t>(sizeof(float));
    for (int64_t block = std::max(first_new_block, last_block - halves + 1); block <= last_block; ++block) {
      keeps_.push_back({row, block});
    }
  }
  // The last block's earlier tokens are restored into scratch beside the new ones; cheaper than to say who copies them.
  int64_t position = r.length;
  if (!r.ring_ready) position = first_near;
  if (r.ring_ready && near.scratch >= 0) position = std::max(first_near, first_new_block * kBlockTokens);
  while (position < r.length) {
    const int64_t n = std::min(r.length, (position / kBlockTokens + 1) * kBlockTokens) - position;
    restores_.push_back({row, position, n, &plan, angle_floats_});
    angle_floats_ += n * 2 * plan.pairs();
    position += n;
  }
}

void NearKeyRings::FillAngles() {
  for (const RestorePiece& piece : restores_) {
    for (int64_t t = 0; t < piece.n_tokens; ++t) {
      float* const cosines = angles_ + piece.angles + t * 2 * piece.plan->pairs();
      piece.plan->NearKey(piece.first_position + t, cosines, cosines + piece.plan->pairs());
    }
  }
}

NearKeys NearKeyRings::Of(int64_t row, int64_t layer) const {
  const RowNear& near = rows_[static_cast<size_t>(row)];
  NearKeys keys;
  keys.pages = cache_.Page(layer, 0);
  keys.block_stride = cache_.block_bytes();
  keys.half_bytes = half_bytes();
  keys.ring = batch_->rows[static_cast<size_t>(row)].ring_table;
  keys.first_scratch_block = near.first_scratch_block;
  if (near.scratch >= 0) keys.scratch = reinterpret_cast<std::byte*>(scratch_ + near.scratch);
  return keys;
}

void NearKeyRings::Restore(int64_t index, int64_t layer) const {
  const RestorePiece& piece = restores_[static_cast<size_t>(index)];
  const int64_t block = piece.first_position / kBlockTokens;
  const int64_t pairs = piece.plan->pairs();
  TokenPlace place;
  place.page = cache_.Page(layer, batch_->rows[static_cast<size_t>(piece.row)].block_table[static_cast<size_t>(block)]);
  place.near_keys = Of(piece.row, layer).Block(block);
  for (int64_t t = 0; t < piece.n_tokens; ++t) {
    const float* const cosines = angles_ + piece.angles + t * 2 * pairs;
    place.slot = (piece.first_position + t) % kBlockTokens;
    RestoreNearKeys(shape_, pairs, {cosines, cosines + pairs}, place);
  }
}

void NearKeyRings::Keep(int64_t index, int64_t layer) const {
  const KeepPiece& piece = keeps_[static_cast<size_t>(index)];
  const NearKeys keys = Of(piece.row, layer);
  std::memcpy(keys.InRing(piece.block), keys.InScratch(piece.block), static_cast<size_t>(half_bytes()));
}

}  // namespace longhaul::cpu
