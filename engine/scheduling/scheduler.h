#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "engine/backend/batch.h"
#include "engine/cache/block_pool.h"
#include "engine/scheduling/group.h"

namespace longhaul {

struct SchedulerLimits {
  int64_t max_tokens = 512;      // of one step
  int64_t max_logit_rows = 512;  // of one step
  int64_t max_rows = 256;        // that run at a time; at most max_tokens and max_logit_rows
};

// Decides which rows take part in the next step, first come first served. A group is admitted when the blocks of all
// its rows at their full capacity are free, and takes them at once, so that what was admitted always finishes. Owns no
// group and no tensor. One thread.
class Scheduler {
 public:
  // `pool` is not owned and outlives it.
  Scheduler(const SchedulerLimits& limits, BlockPool& pool) : limits_(limits), pool_(pool) {}

  // Whether a group could ever be admitted, alone on an empty machine.
  bool CanEverFit(const Group& group) const;

  // Puts a group at the end of the queue. REQUIRES: CanEverFit, and that it has tokens to compute; it stays where it is
  // until Remove.
  void Add(Group& group);

  // Takes a group out, wherever it is, and frees its blocks.
  void Remove(Group& group);

  // Admits what fits and makes the batch of the next step: first the rows that decode, then, with what is left of the
  // limits, prompts in the order of their arrival. Empty when nothing can run. Valid until the next call of any method
  // but the accessors.
  const Batch& NextBatch();

  // The last batch, and its groups in its order.
  const Batch& batch() const { return batch_; }
  const std::vector<Group*>& scheduled() const { return scheduled_; }

  // The step of the last batch is done: its tokens are in the cache.
  void StepDone();

  int64_t running() const { return static_cast<int64_t>(running_.size()); }
  int64_t waiting() const { return static_cast<int64_t>(waiting_.size()); }

 private:
  void Admit();
  void Schedule(Group& group);
  void AppendRow(const Group& group, const Sequence& row, int64_t n_new);
  int PlanIndex(const RotaryPlan* plan);
  int64_t TokensLeft() const { return limits_.max_tokens - batch_.n_tokens(); }

  SchedulerLimits limits_;
  BlockPool& pool_;
  std::deque<Group*> waiting_;
  std::vector<Group*> running_;  // in the order of admission
  int64_t running_rows_ = 0;
  std::vector<Group*> scheduled_;
  Batch batch_;
  int64_t logit_rows_ = 0;  // of batch_
};

}  // namespace longhaul
