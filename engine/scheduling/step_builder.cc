#include "engine/scheduling/step_builder.h"

#include <algorithm>
#include <utility>

namespace longhaul {

void StepBuilder::Reserve() {
  Batch& batch = step_.batch;
  batch.tokens.reserve(expected_.tokens);
  batch.positions.reserve(expected_.tokens);
  batch.row_of.reserve(expected_.tokens);
  batch.rows.reserve(expected_.rows);
  batch.groups.reserve(expected_.groups);
  batch.block_ids.reserve(expected_.blocks + expected_.rows);  // each row may hold one more
  batch.wanted.reserve(expected_.wanted);
  if (expected_.counts > 0) batch.counts.reserve(expected_.counts + expected_.groups);
  step_.rows.reserve(expected_.rows);
  step_.groups.reserve(expected_.groups);
}

StepBuilder::Sizes StepBuilder::sizes() const {
  const Batch& batch = step_.batch;
  return {batch.tokens.size(),    batch.rows.size(),   batch.groups.size(),
          batch.block_ids.size(), batch.wanted.size(), batch.counts.size()};
}

void StepBuilder::Add(Group& group, int64_t max_tokens) {
  if (step_.empty()) Reserve();  // here, so that running out of memory is blamed on a group
  Batch& batch = step_.batch;
  const int64_t n_rows = static_cast<int64_t>(group.rows.size());
  const bool scores = group.score_from > 0;
  // The last tokens of all rows belong into one step, because the group's next token is made of all their logits.
  const bool completes = group.Remaining() <= max_tokens && batch.n_logit_rows() + n_rows <= max_logit_rows_;
  const int32_t first_row = static_cast<int32_t>(batch.rows.size());
  const int64_t first_wanted = batch.n_logit_rows(), first_token = batch.n_tokens();
  const int64_t end = first_token + (completes ? group.Remaining() : max_tokens);
  for (Sequence& row : group.rows) {
    const bool keeps_last = !completes && !scores;
    int64_t n_new = std::min(group.Remaining(row) - (keeps_last ? 1 : 0), end - batch.n_tokens());
    if (scores) n_new = std::min(n_new, max_logit_rows_ - batch.n_logit_rows());
    if (n_new > 0) AddRow(group, row, n_new);
  }
  const int32_t scheduled_rows = static_cast<int32_t>(batch.rows.size()) - first_row;
  if (scheduled_rows == 0) return;
  BatchGroup& entry = batch.groups.emplace_back();
  entry.first_row = first_row;
  entry.n_rows = scheduled_rows;
  entry.first_wanted = first_wanted;
  entry.n_scored = batch.n_logit_rows() - first_wanted;
  if (scores) entry.top_scores = group.top_scores;
  if (completes && !scores && group.draws != nullptr) {
    for (int32_t r = first_row; r < first_row + scheduled_rows; ++r) {
      const BatchRow& row = batch.rows[static_cast<size_t>(r)];
      batch.wanted.push_back({row.first_token + row.n_new - 1, WantedLogits::kSampled});
    }
    entry.draw = group.draws->NextDraw(group, group.n_drawn, batch);
  }
  step_.groups.push_back({&group, group.generation, first_row, scheduled_rows, entry.draw.has_value(),
                          !group.prompt_read && batch.n_tokens() - first_token == group.Remaining()});

  StepTally& tally = step_.tally;
  const int64_t tokens = batch.n_tokens() - first_token;
  if (!group.prompt_read) tally.prompt_tokens += tokens;
  for (int32_t r = first_row; r < first_row + scheduled_rows; ++r) {
    const int64_t n_new = batch.rows[static_cast<size_t>(r)].n_new;
    if (group.prompt_read && n_new == 1) {
      ++tally.decode_rows;
    } else {
      ++tally.prefill_rows;
      tally.prefill_tokens += n_new;
    }
  }
}

void StepBuilder::AddRow(const Group& group, Sequence& row, int64_t n_new) {
  Batch& batch = step_.batch;
  BatchRow entry;
  entry.length = row.n_submitted;
  entry.n_new = n_new;
  entry.first_token = batch.n_tokens();
  entry.plan = PlanIndex(row.plan);
  entry.ring_ready = row.ring_ready;
  const auto append = [&](std::span<const BlockId> blocks, int64_t& first, int64_t& n) {
    first = static_cast<int64_t>(batch.block_ids.size());
    n = static_cast<int64_t>(blocks.size());
    batch.block_ids.insert(batch.block_ids.end(), blocks.begin(), blocks.end());
  };
  append(row.blocks.blocks(), entry.first_block, entry.n_blocks);
  append(row.ring.blocks(), entry.first_ring_block, entry.n_ring_blocks);
  const int32_t row_index = static_cast<int32_t>(batch.rows.size());
  for (int64_t position = row.n_submitted; position < row.n_submitted + n_new; ++position) {
    const bool is_known = position < static_cast<int64_t>(row.tokens.size());
    batch.tokens.push_back(is_known ? row.tokens[static_cast<size_t>(position)] : DrawnBy(group.drawn_by));
    batch.positions.push_back(position);
    batch.row_of.push_back(row_index);
  }
  if (group.score_from > 0) AddScores(group, row, n_new, entry.first_token);
  step_.work = step_.work.With(n_new, row.n_submitted);
  batch.rows.push_back(entry);
  step_.rows.push_back({&row, n_new});
}

// The logits of position p score token p + 1.
void StepBuilder::AddScores(const Group& group, const Sequence& row, int64_t n_new, int64_t first_token) {
  const int64_t first = std::clamp(group.score_from - 1 - row.n_submitted, int64_t{0}, n_new);
  for (int64_t i = first; i < n_new; ++i) {
    step_.batch.wanted.push_back({first_token + i, row.tokens[static_cast<size_t>(row.n_submitted + i + 1)]});
  }
}

int32_t StepBuilder::PlanIndex(const std::shared_ptr<const RotaryPlan>& plan) {
  auto& plans = step_.batch.plans;
  const auto found = std::find(plans.begin(), plans.end(), plan);
  const auto index = found - plans.begin();
  if (found == plans.end()) plans.push_back(plan);
  return static_cast<int32_t>(index);
}

}  // namespace longhaul
