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
//
// A step goes NextStep -> OnSubmitted -> StepDone (or StepFailed). The next one may be made and submitted before that:
// rows then hold a token that has been drawn and is not known. Who needs a result first waits for it: see NextStep.
class Scheduler {
 public:
  // `pool` is not owned and outlives it.
  Scheduler(const SchedulerLimits& limits, BlockPool& pool) : limits_(limits), pool_(pool), cache_(pool) {
    running_.reserve(static_cast<size_t>(limits.max_rows));
    prompts_.reserve(static_cast<size_t>(limits.max_rows));
  }

  // What takes memory may throw std::bad_alloc. Add has then done nothing; after NextStep the group at_hand is to be
  // removed, and after StepDone all those of the step; the others are as they were.

  // Whether a group could ever be admitted and grow to its capacity, alone on an empty machine.
  bool CanEverFit(const Group& group) const;

  // Tokens of the group's rows that the prefix cache holds now.
  int64_t CachedTokens(const Group& group) const;

  // Queues a group at time `now`, seconds. REQUIRES: CanEverFit, and that it has tokens to compute; it stays where it
  // is until Remove.
  void Add(Group& group, double now);

  // Takes a group out, wherever it is, and frees its blocks; while steps in flight hold it they keep them, and it must
  // live. Throws nothing.
  void Remove(Group& group);

  // Admits what fits and makes the next step: first the rows that decode, then, with what is left of the limits and of
  // the time, prompts, larger priority first: at least half of it for the first that came, the rest for those that have
  // the fewest tokens left. Empty when nothing can run. None when a step in flight is to be collected first: it
  // completes a prompt, or blocks run out and somebody would have to be preempted.
  std::optional<Step> NextStep(double now);

  // The group that NextStep was busy with when it threw; null where it was none in particular.
  Group* at_hand() const { return at_hand_; }

  // The step was submitted. Throws nothing. REQUIRES: it is what NextStep returned last, and since then no group of it
  // was removed.
  void OnSubmitted(const Step& step);

  // The oldest step that was submitted is done and took so long: its tokens are in the cache.
  void StepDone(const Step& step, double seconds);
  // It failed: its groups are to be removed. Throws nothing.
  void StepFailed(const Step& step);

  // Whether the part of a step is of a group that was removed since.
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
  // Gives every decoding group room for its next token; who gets none is preempted. False when somebody would have to
  // be while a step is in flight.
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
  // None grows: there is a row for each.
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
