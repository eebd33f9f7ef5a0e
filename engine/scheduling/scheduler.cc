#include "engine/scheduling/scheduler.h"

#include <algorithm>

namespace longhaul {

bool Scheduler::CanEverFit(const Group& group) const {
  return group.BlocksNeeded() <= pool_.total() && static_cast<int64_t>(group.rows.size()) <= limits_.max_rows;
}

void Scheduler::Add(Group& group) {
  waiting_.push_back(&group);
}

void Scheduler::Remove(Group& group) {
  if (std::erase(running_, &group) > 0) running_rows_ -= static_cast<int64_t>(group.rows.size());
  std::erase(waiting_, &group);
  for (Sequence& row : group.rows) row.Free();
}

void Scheduler::Admit() {
  while (!waiting_.empty()) {
    Group& group = *waiting_.front();
    const int64_t n_rows = static_cast<int64_t>(group.rows.size());
    if (group.BlocksNeeded() > pool_.free() || running_rows_ + n_rows > limits_.max_rows) return;
    for (Sequence& row : group.rows) row.Reserve(group.capacity);
    running_.push_back(&group);
    running_rows_ += n_rows;
    waiting_.pop_front();
  }
}

const Batch& Scheduler::NextBatch() {
  Admit();
  batch_ = Batch();
  scheduled_.clear();
  logit_rows_ = 0;
  const auto decodes = [](const Group& group) { return group.Remaining() == static_cast<int64_t>(group.rows.size()); };
  for (Group* group : running_) {
    if (!group->paused && decodes(*group)) Schedule(*group);
  }
  for (Group* group : running_) {
    if (!group->paused && !decodes(*group)) Schedule(*group);
  }
  if (std::all_of(batch_.targets.begin(), batch_.targets.end(), [](TokenId id) { return id < 0; })) {
    batch_.targets.clear();
  }
  return batch_;
}

void Scheduler::Schedule(Group& group) {
  const int64_t n_rows = static_cast<int64_t>(group.rows.size());
  // The last tokens of all rows belong into one step, because the group's next token is made of all their logits.
  const bool completes = group.Remaining() <= TokensLeft() && logit_rows_ + n_rows <= limits_.max_logit_rows;
  const int first_row = static_cast<int>(batch_.rows.size());
  for (const Sequence& row : group.rows) {
    int64_t n_new = std::min(completes ? group.Remaining(row) : group.Remaining(row) - 1, TokensLeft());
    if (group.score_from > 0) n_new = std::min(n_new, limits_.max_logit_rows - logit_rows_);
    if (n_new > 0) AppendRow(group, row, n_new);
  }
  const int scheduled_rows = static_cast<int>(batch_.rows.size()) - first_row;
  if (scheduled_rows == 0) return;
  const bool due = completes && group.score_from == 0;
  batch_.groups.push_back({first_row, scheduled_rows, due ? group.sampler : nullptr});
  if (group.score_from > 0) batch_.top_scores = std::max(batch_.top_scores, group.top_scores);
  scheduled_.push_back(&group);
}

void Scheduler::AppendRow(const Group& group, const Sequence& row, int64_t n_new) {
  BatchRow entry;
  entry.block_table = row.blocks.blocks();
  entry.ring_table = row.ring.blocks();
  entry.ring_ready = row.ring_ready;
  entry.length = row.n_computed;
  entry.n_new = n_new;
  entry.first_token = batch_.n_tokens();
  entry.plan = PlanIndex(row.plan);
  const int32_t row_index = static_cast<int32_t>(batch_.rows.size());
  for (int64_t position = row.n_computed; position < row.n_computed + n_new; ++position) {
    batch_.tokens.push_back(row.tokens[static_cast<size_t>(position)]);
    batch_.positions.push_back(position);
    batch_.row_of.push_back(row_index);
  }
  if (group.score_from > 0) {
    // The logits of position p score token p + 1.
    entry.first_logit = std::clamp(group.score_from - 1 - row.n_computed, int64_t{0}, n_new);
    for (int64_t i = entry.first_logit; i < n_new; ++i) {
      batch_.targets.push_back(row.tokens[static_cast<size_t>(row.n_computed + i + 1)]);
    }
  } else {
    const bool samples = group.sampler != nullptr && n_new == group.Remaining(row);
    entry.first_logit = samples ? n_new - 1 : n_new;
    if (samples) batch_.targets.push_back(-1);
  }
  logit_rows_ += n_new - entry.first_logit;
  batch_.rows.push_back(entry);
}

int Scheduler::PlanIndex(const RotaryPlan* plan) {
  const auto found = std::find(batch_.plans.begin(), batch_.plans.end(), plan);
  const auto index = found - batch_.plans.begin();
  if (found == batch_.plans.end()) batch_.plans.push_back(plan);
  return static_cast<int>(index);
}

void Scheduler::StepDone() {
  size_t row_index = 0;
  for (size_t g = 0; g < scheduled_.size(); ++g) {
    // A row of the group that had nothing to compute in this step is not in the batch: match by blocks.
    for (Sequence& row : scheduled_[g]->rows) {
      if (row_index >= batch_.rows.size()) return;
      const BatchRow& entry = batch_.rows[row_index];
      if (entry.block_table.data() != row.blocks.blocks().data()) continue;
      row.n_computed += entry.n_new;
      row.ring_ready = true;
      ++row_index;
    }
  }
}

}  // namespace longhaul
