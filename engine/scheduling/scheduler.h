#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/cache/block_pool.h"
#include "engine/cache/prefix_cache.h"
#include "engine/scheduling/group.h"
#include "engine/scheduling/step.h"
#include "engine/scheduling/step_builder.h"
#include "engine/scheduling/step_cost.h"
#include "engine/scheduling/waiting_queue.h"

namespace longhaul {

struct SchedulerLimits {
  int64_t max_tokens = 512;      // of one step
  int64_t max_logit_rows = 512;  // of one step
  int64_t max_rows = 257;        // that run at a time; at most max_tokens and max_logit_rows
  // Seconds that a step in which rows decode should take at most, prefill included; 0: the larger of 20 ms and twice
  // the predicted time of its decode. A step without decode may take five times as long.
  double step_target = 0;
  double reserve_after = 5;  // seconds; how long the first of the queue may not fit before free blocks are kept for it
  bool prefix_cache = true;
};

struct SchedulerStats {
  int64_t preemptions = 0;
  int64_t computed_prompt_tokens = 0, cached_prompt_tokens = 0;  // of first admissions
};

// Decides which rows take part in the next step. A group is admitted when there are blocks for the tokens that it has
// (those in the prefix cache are not computed again), and takes further blocks as it grows. Where none are left the
// youngest group of the lowest priority is preempted: it releases its blocks, keeps its tokens, and is prefilled again
// when there is room. Owns no group and no tensor, and reads no clock. One thread.
//
// A step goes NextStep -> OnSubmitted -> StepDone (or StepFailed). The next one may be made and submitted before
// StepDone: its rows then hold a token that has been drawn and is not known (DrawnBy). NextStep returns none where a
// result is needed first.
class Scheduler {
 public:
  // `pool` is not owned and outlives it.
  Scheduler(const SchedulerLimits& limits, BlockPool& pool) : limits_(limits), pool_(pool), cache_(pool) {
    running_.reserve(static_cast<size_t>(limits.max_rows));
    prompts_.reserve(static_cast<size_t>(limits.max_rows));
  }

  // What takes memory may throw std::bad_alloc. Add has then done nothing; after NextStep the group at_hand is to be
  // removed, and after StepDone all those of the step; the others are as they were.

  // Whether a group would fit at its full length if it were alone.
  bool CanEverFit(const Group& group) const;

  // Tokens of the rows of the group that are in the prefix cache now.
  int64_t CachedTokens(const Group& group) const;

  // Queues a group at time `now`, seconds. It is not owned and must live until Remove, and as long as steps in flight
  // hold it. REQUIRES: CanEverFit, and it has tokens to compute.
  void Add(Group& group, double now);

  // Removes a group that waits or runs and frees its blocks; where steps in flight hold it, the last of them frees
  // them, and the group must live until then. Throws nothing.
  void Remove(Group& group);

  // Admits what fits and makes the next step: first the rows that decode; then, within what is left of the limits and
  // of the step's time, prefill, larger priority first: at least half of that for the group that came first, the rest
  // for those with the fewest tokens left. Empty when nothing can run. None when a step in flight must be collected
  // first: it completes a prompt, or a group would have to be preempted.
  std::optional<Step> NextStep(double now);

  // The group that NextStep was working on when it threw; null where it was no single one.
  Group* at_hand() const { return at_hand_; }

  // The step was submitted. Throws nothing. REQUIRES: it is what NextStep returned last, and since then no group of it
  // was removed.
  void OnSubmitted(const Step& step);

  // The oldest step in flight is done after `seconds`: its tokens are in the cache.
  void StepDone(const Step& step, double seconds);
  // The oldest step in flight failed; its groups must be removed. Throws nothing.
  void StepFailed(const Step& step);

  // Whether the group of a part has been removed since the step was made.
  static bool IsVoid(const Step::GroupPart& part) { return part.generation != part.group->generation; }

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
  // Takes the blocks for the next token of every group that decodes, and preempts where there are none. False where it
  // would preempt while a step is in flight.
  bool Grow();
  // Whom to preempt for `needed` blocks among running_[first..].
  Group* Victim(size_t first, int64_t needed) const;
  void Preempt(Group& group);
  void StopRunning(Group& group);

  void ReadPrompts(StepBuilder& builder);
  void Publish(Sequence& row);

  SchedulerLimits limits_;
  BlockPool& pool_;
  PrefixCache cache_;
  WaitingQueue waiting_;
  // Reserved for max_rows groups: they never reallocate.
  std::vector<Group*> running_;  // larger priority first, then in the order of arrival
  std::vector<Group*> prompts_;  // of these, that are being read
  int64_t running_rows_ = 0;
  int64_t free_at_refusal_ = -1;  // free blocks when the first of the queue did not fit; -1: nobody was refused
  uint64_t next_order_ = 0;
  Group* at_hand_ = nullptr;

  int64_t n_in_flight_ = 0;   // steps
  int64_t n_to_collect_ = 0;  // of these, that complete a prompt
  StepBuilder::Sizes last_sizes_;
  StepCost cost_;
  SchedulerStats stats_;
};

}  // namespace longhaul
