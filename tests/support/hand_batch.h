#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "engine/backend/batch.h"

// Batches that are made by hand, row by row.
namespace longhaul {

struct HandRow {
  std::span<const TokenId> tokens;  // the new ones
  int64_t length = 0;
  std::span<const BlockId> blocks;
  std::span<const BlockId> ring{};
  bool ring_ready = false;
  std::shared_ptr<const RotaryPlan> plan;
};

// Adds a group of these rows. `targets`: what is scored after the group's new tokens, counted from the last one back.
inline void AddGroup(Batch& batch, const std::vector<HandRow>& rows, std::optional<BatchDraw> draw = {},
                     std::span<const TokenId> targets = {}) {
  BatchGroup& group = batch.groups.emplace_back();
  group.first_row = static_cast<int32_t>(batch.rows.size());
  group.n_rows = static_cast<int32_t>(rows.size());
  const auto append = [&](std::span<const BlockId> blocks, int64_t& first, int64_t& n) {
    first = static_cast<int64_t>(batch.block_ids.size());
    n = static_cast<int64_t>(blocks.size());
    batch.block_ids.insert(batch.block_ids.end(), blocks.begin(), blocks.end());
  };
  for (const HandRow& from : rows) {
    BatchRow row;
    row.length = from.length;
    row.n_new = static_cast<int64_t>(from.tokens.size());
    row.first_token = batch.n_tokens();
    row.ring_ready = from.ring_ready;
    for (row.plan = 0; row.plan < static_cast<int32_t>(batch.plans.size()); ++row.plan) {
      if (batch.plans[static_cast<size_t>(row.plan)] == from.plan) break;
    }
    if (row.plan == static_cast<int32_t>(batch.plans.size())) batch.plans.push_back(from.plan);
    append(from.blocks, row.first_block, row.n_blocks);
    append(from.ring, row.first_ring_block, row.n_ring_blocks);
    for (int64_t i = 0; i < row.n_new; ++i) {
      batch.tokens.push_back(from.tokens[static_cast<size_t>(i)]);
      batch.positions.push_back(from.length + i);
      batch.row_of.push_back(static_cast<int32_t>(batch.rows.size()));
    }
    batch.rows.push_back(row);
  }
  group.first_wanted = batch.n_logit_rows();
  group.n_scored = static_cast<int64_t>(targets.size());
  for (int64_t i = 0; i < group.n_scored; ++i) {
    batch.wanted.push_back({batch.n_tokens() - group.n_scored + i, targets[static_cast<size_t>(i)]});
  }
  group.draw = std::move(draw);
  if (!group.draw.has_value()) return;
  for (int32_t r = group.first_row; r < group.first_row + group.n_rows; ++r) {
    const BatchRow& row = batch.rows[static_cast<size_t>(r)];
    batch.wanted.push_back({row.first_token + row.n_new - 1, WantedLogits::kSampled});
  }
}

// A draw of the most probable token.
inline BatchDraw Greedy(uint64_t index = 0) {
  static const auto spec = std::make_shared<const SamplerSpec>();
  BatchDraw draw;
  draw.spec = spec;
  draw.index = index;
  return draw;
}

}  // namespace longhaul
