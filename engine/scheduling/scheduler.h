#pragma once

#include <cstdint>
#include <vector>

#include "engine/backend/batch.h"
#include "engine/cache/block_pool.h"
#include "engine/cache/prefix_cache.h"
#include "engine/scheduling/group.h"
#include "engine/scheduling/step_cost.h"
#include "engine/scheduling/waiting_queue.h"

namespace longhaul {

struct SchedulerLimits {
  int64_t max_tokens = 512;      // of one step
  int64_t max_logit_rows = 512;  // of one step
  int64_t max_rows = 257;        // that run at a time; at most max_tokens and max_logit_rows
  // Seconds that a step in which rows decode should take at most, prompts included; 0: the larger of 20 ms and twice
  // what the decoding alone takes. One in which none does may take five times as long.
  double step_target = 0;
  double reserve_after = 5;  // seconds after which what becomes free is kept for the first of the queue
  bool prefix_cache = true;
};

struct SchedulerStats {
  int64_t preemptions = 0;
  int64_t computed_prompt_tokens = 0, cached_prompt_tokens = 0;  // of first admissions
};

// Decides which rows take part in the next step. A group is admitted when there are blocks for the tokens that it has
// (what the prefix cache holds of them is not computed again), and takes further ones as it grows; when none is left,
// the youngest group of the lowest priority is preempted: it gives its blocks back, keeps its tokens, and is read again
// when there is room. Owns no group and no tensor, and reads no clock. One thread.
class Scheduler {
 public:
  // `pool` is not owned and outlives it.
  Scheduler(const SchedulerLimits& limits, BlockPool& pool) : limits_(limits), pool_(pool), cache_(pool) {
    running_.reserve(static_cast<size_t>(limits.max_rows));
    prompts_.reserve(static_cast<size_t>(limits.max_rows));
  }

  // What takes memory may throw std::bad_alloc. Add has then done nothing; after NextBatch the group at_hand is to be
  // removed, and after StepDone all those of the batch; the others are as they were.

  // Whether a group could ever be admitted and grow to its capacity, alone on an empty machine.
  bool CanEverFit(const Group& group) const;

  // Tokens of the group's rows that the prefix cache holds now.
  int64_t CachedTokens(const Group& group) const;

  // Queues a group at time `now`, seconds. REQUIRES: CanEverFit, and that it has tokens to compute; it stays where it
  // is until Remove.
  void Add(Group& group, double now);

  // Takes a group out, wherever it is, and frees its blocks. Throws nothing.
  void Remove(Group& group);

  // Admits what fits and makes the batch of the next step: first the rows that decode, then, with what is left of the
  // limits and of the time, prompts, larger priority first: at least half of it for the first that came, the rest for
  // those that have the fewest tokens left. Empty when nothing can run. Valid until the next call of any method but the
  // accessors.
  const Batch& NextBatch(double now);

  // The last batch, and its groups in its order.
  const Batch& batch() const { return batch_; }
  const std::vector<Group*>& scheduled() const { return scheduled_; }

  // The group that NextBatch was busy with when it threw; null where it was none in particular.
  Group* at_hand() const { return at_hand_; }

  // The step of the last batch is done and took so long: its tokens are in the cache.
  void StepDone(double seconds);

  int64_t running() const { return static_cast<int64_t>(running_.size()); }
  int64_t running_rows() const { return running_rows_; }
  int64_t waiting() const { return waiting_.size(); }
  const SchedulerStats& stats() const { return stats_; }
  const PrefixCache& cache() const { return cache_; }

 private:
  void Admit(double now);
  bool TryAdmit(Group& group, double now);
  int64_t MaxCachedBlocks(const Group& group, const Sequence& row) const;
  void TakeCached(Group& group);
  // Gives every decoding group room for its next token; who gets none is preempted.
  void Grow();
  // Whom to preempt for `needed` blocks among running_[first..]; null: nobody.
  Group* Victim(size_t first, int64_t needed) const;
  void Preempt(Group& group);
  void StopRunning(Group& group);

  void ReadPrompts();
  // At most so many tokens of the group; its last ones all together or not at all.
  void Schedule(Group& group, int64_t max_tokens);
  void AppendRow(const Group& group, Sequence& row, int64_t n_new);
  int PlanIndex(const RotaryPlan* plan);
  void Publish(Sequence& row);
  int64_t TokensLeft() const { return limits_.max_tokens - batch_.n_tokens(); }

  SchedulerLimits limits_;
  BlockPool& pool_;
  PrefixCache cache_;
  WaitingQueue waiting_;
  // None grows: there is a row for each.
  std::vector<Group*> running_;  // larger priority first, then in the order of arrival
  std::vector<Group*> prompts_;  // of these, that are being read
  int64_t running_rows_ = 0;
  int64_t free_at_refusal_ = -1;  // free blocks when the first of the queue did not fit; -1: nobody was refused
  uint64_t next_order_ = 0;
  Group* at_hand_ = nullptr;

  StepCost cost_;
  StepWork work_;  // of batch_
  std::vector<Group*> scheduled_;
  std::vector<Sequence*> batch_rows_;  // of batch_.rows
  Batch batch_;
  int64_t logit_rows_ = 0;  // of batch_
  SchedulerStats stats_;
};

}  // namespace longhaul
