#include "engine/backend/cpu/attention/near_key_rings.h"

#include <algorithm>
#include <cstring>

#include "engine/backend/cpu/attention/rotate_and_store.h"

namespace longhaul::cpu {

void NearKeyRings::BeginStep(const Batch& batch, std::span<const PlanAngles* const> plans) {
  batch_ = &batch;
  rows_.assign(batch.rows.size(), {});
  restores_.clear();
  keeps_.clear();
  scratch_floats_ = angle_floats_ = 0;
  for (size_t row = 0; row < batch.rows.size(); ++row) {
    const PlanAngles& plan = *plans[static_cast<size_t>(batch.rows[row].plan)];
    if (plan.has_near_keys()) PlanRow(static_cast<int64_t>(row), plan);
  }
  scratch_ = scratch_memory_.AtLeast(scratch_floats_);
  angles_ = angle_memory_.AtLeast(angle_floats_);
  for (size_t row = 0; row < batch.rows.size(); ++row) {
    if (rows_[row].plan != nullptr) FillAngles(batch.rows[row], rows_[row]);
  }
}

void NearKeyRings::PlanRow(int64_t row, const PlanAngles& plan) {
  const BatchRow& r = batch_->rows[static_cast<size_t>(row)];
  RowNear& near = rows_[static_cast<size_t>(row)];
  near.plan = &plan;
  const int64_t first_near_block = plan.FirstKey(0, r.length) / kBlockTokens;
  const int64_t first_new_block = r.length / kBlockTokens;
  const int64_t last_block = (r.length + r.n_new - 1) / kBlockTokens;
  const int64_t halves = 2 * r.n_ring_blocks;
  near.first_scratch_block = std::numeric_limits<int64_t>::max();
  if (last_block - first_near_block + 1 > halves) {
    near.first_scratch_block = first_new_block;
    near.scratch = scratch_floats_;
    scratch_floats_ += (last_block - first_new_block + 1) * half_bytes() / static_cast<int64_t>(sizeof(float));
    for (int64_t block = std::max(first_new_block, last_block - halves + 1); block <= last_block; ++block) {
      keeps_.push_back({row, block});
    }
  }
  near.first_block = first_new_block;
  if (!r.ring_ready) {
    near.first_block = first_near_block;
    for (int64_t block = first_near_block; block < first_new_block; ++block) restores_.push_back({row, block});
  }
  near.angles = angle_floats_;
  angle_floats_ += (last_block - near.first_block + 1) * AngleFloats(plan);
}

void NearKeyRings::FillAngles(const BatchRow& row, const RowNear& near) {
  const int64_t pairs = near.plan->pairs(), last_position = row.length + row.n_new - 1;
  token_angles_.resize(static_cast<size_t>(2 * pairs));
  for (int64_t block = near.first_block; block <= last_position / kBlockTokens; ++block) {
    float* const out = angles_ + near.angles + (block - near.first_block) * AngleFloats(*near.plan);
    for (int64_t slot = 0; slot < kBlockTokens; ++slot) {
      // Slots behind the last token hold nothing.
      const int64_t position = std::min(block * kBlockTokens + slot, last_position);
      near.plan->NearKey(position, token_angles_.data(), token_angles_.data() + pairs);
      for (int64_t i = 0; i < 2 * pairs; ++i) out[i * kBlockTokens + slot] = token_angles_[static_cast<size_t>(i)];
    }
  }
}

NearKeys NearKeyRings::Of(int64_t row, int64_t layer) const {
  const RowNear& near = rows_[static_cast<size_t>(row)];
  NearKeys keys;
  keys.pages = cache_.Page(layer, 0);
  keys.block_stride = cache_.block_bytes();
  keys.half_bytes = half_bytes();
  keys.ring = batch_->RingBlocks(batch_->rows[static_cast<size_t>(row)]);
  keys.first_scratch_block = near.first_scratch_block;
  if (near.scratch >= 0) keys.scratch = reinterpret_cast<std::byte*>(scratch_ + near.scratch);
  return keys;
}

void NearKeyRings::Make(int64_t row, int64_t block, int64_t layer) const {
  const RowNear& near = rows_[static_cast<size_t>(row)];
  const BlockId id = batch_->Blocks(batch_->rows[static_cast<size_t>(row)])[static_cast<size_t>(block)];
  const float* const angles = angles_ + near.angles + (block - near.first_block) * AngleFloats(*near.plan);
  MakeNearKeys(shape_, near.plan->pairs(), angles, cache_.Page(layer, id), Of(row, layer).Block(block));
}

void NearKeyRings::Restore(int64_t piece, int64_t layer) const {
  const auto& [row, block] = restores_[static_cast<size_t>(piece)];
  Make(row, block, layer);
}

void NearKeyRings::Keep(int64_t piece, int64_t layer) const {
  const auto& [row, block] = keeps_[static_cast<size_t>(piece)];
  const NearKeys keys = Of(row, layer);
  std::memcpy(keys.InRing(block), keys.InScratch(block), static_cast<size_t>(half_bytes()));
}

}  // namespace longhaul::cpu
