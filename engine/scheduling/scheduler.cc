#include "engine/scheduling/scheduler.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "absl/cleanup/cleanup.h"

namespace longhaul {
namespace {

// Candidates that are asked whether they fit where the first of the queue does not.
constexpr size_t kMaxCandidates = 8;

// A group that holds more than so many times the blocks that are needed is not preempted where a smaller one would do.
constexpr int64_t kGreedyVictim = 4;

constexpr double kMinStepTarget = 0.020;

// A step without decode may take so many times as long: only those that arrive meanwhile wait for its end.
constexpr double kPromptsAlone = 5;
// Such a step has at least so many tokens: they share the cost of fetching the keys before them.
constexpr int64_t kMinTokensAlone = 16;

bool GoesBefore(const Group* a, const Group* b) {
  return a->priority != b->priority ? a->priority > b->priority : a->order < b->order;
}

}  // namespace

bool Scheduler::CanEverFit(const Group& group) const {
  return group.MaxBlocks() <= pool_.total() && static_cast<int64_t>(group.rows.size()) <= limits_.max_rows;
}

void Scheduler::Add(Group& group, double now) {
  group.order = next_order_++;
  group.queued_since = now;
  waiting_.Arrive(group);
  absl::Cleanup depart = [&] { waiting_.Depart(group); };
  waiting_.Add(group);
  std::move(depart).Cancel();
  free_at_refusal_ = -1;
}

void Scheduler::Remove(Group& group) {
  ++group.generation;
  StopRunning(group);
  waiting_.Remove(group);
  waiting_.Depart(group);
}

void Scheduler::StopRunning(Group& group) {
  if (std::erase(running_, &group) > 0) running_rows_ -= static_cast<int64_t>(group.rows.size());
  free_at_refusal_ = -1;
  if (group.n_in_flight > 0) return;  // the last of these steps frees the blocks
  for (Sequence& row : group.rows) row.Free();
}

// --- Admission ---

// A hit never covers a row's last token, whose logits are wanted, nor one before a token that is scored.
int64_t Scheduler::MaxCachedBlocks(const Group& group, const Sequence& row) const {
  if (!limits_.prefix_cache) return 0;
  const int64_t last = group.score_from > 0 ? group.score_from - 1 : static_cast<int64_t>(row.tokens.size()) - 1;
  return last / pool_.geometry().block_tokens;
}

int64_t Scheduler::CachedTokens(const Group& group) const {
  int64_t blocks = 0;
  for (const Sequence& row : group.rows) {
    blocks +=
        cache_.Peek(row.tokens, MaxCachedBlocks(group, row), PrefixCache::Empty(group.scope, row.plan->fingerprint));
  }
  return blocks * pool_.geometry().block_tokens;
}

void Scheduler::TakeCached(Group& group) {
  for (Sequence& row : group.rows) {
    row.prefix = PrefixCache::Empty(group.scope, row.plan->fingerprint);
    if (!limits_.prefix_cache) continue;
    const int64_t most = MaxCachedBlocks(group, row);
    row.blocks.MakeRoom(std::max<int64_t>(most, 0));
    for (BlockId block : cache_.Take(row.tokens, most, row.prefix)) row.blocks.Append(block);
    row.n_published = row.blocks.size();
    row.n_submitted = row.n_computed = row.n_published * pool_.geometry().block_tokens;
  }
}

void Scheduler::Admit(double now) {
  // Nothing has become free since the first of the queue did not fit.
  if (waiting_.size() == 0 || pool_.free() == free_at_refusal_) return;
  free_at_refusal_ = -1;
  for (bool admitted = true; admitted && waiting_.size() > 0;) {
    admitted = false;
    at_hand_ = nullptr;
    const std::vector<Group*>& ranked = waiting_.Ranked(now);
    for (size_t i = 0; i < std::min(ranked.size(), kMaxCandidates) && !admitted; ++i) {
      Group& group = *ranked[i];
      admitted = TryAdmit(group, now);
      if (admitted || i > 0) continue;
      free_at_refusal_ = pool_.free();
      if (!group.not_fitting_since.has_value()) group.not_fitting_since = now;
      // What becomes free from now on is kept for it.
      if (now - *group.not_fitting_since >= limits_.reserve_after) return;
    }
  }
}

bool Scheduler::TryAdmit(Group& group, double now) {
  const int64_t n_rows = static_cast<int64_t>(group.rows.size());
  if (running_rows_ + n_rows > limits_.max_rows) return false;
  at_hand_ = &group;
  absl::Cleanup give_back = [&] {
    for (Sequence& row : group.rows) row.Free();
  };
  TakeCached(group);
  int64_t missing = 0;
  for (const Sequence& row : group.rows) {
    missing += row.BlocksNeeded(static_cast<int64_t>(row.tokens.size()), group.Capacity(row)) - row.blocks_held();
  }
  // One more block for each row that runs, so that the next tokens do not cause a preemption at once.
  const int64_t watermark = running_.empty() ? 0 : running_rows_ + n_rows;
  if (missing + watermark > pool_.free()) return false;
  int64_t cached = 0;
  for (Sequence& row : group.rows) {
    cached += row.n_computed;
    row.Reserve(static_cast<int64_t>(row.tokens.size()), group.Capacity(row));
  }
  std::move(give_back).Cancel();
  if (!group.cached_tokens.has_value()) {
    group.cached_tokens = cached;
    stats_.cached_prompt_tokens += cached;
    stats_.computed_prompt_tokens += group.RowTokens() - cached;
  }
  group.not_fitting_since.reset();
  waiting_.Remove(group);
  waiting_.Served(group.client, now);
  running_.insert(std::upper_bound(running_.begin(), running_.end(), &group, GoesBefore), &group);
  running_rows_ += n_rows;
  return true;
}

// --- Preemption ---

bool Scheduler::Grow() {
  for (size_t i = 0; i < running_.size(); ++i) {
    Group& group = *running_[i];
    if (!group.Decodes() || group.AwaitsItsEnd()) continue;
    at_hand_ = &group;
    const auto length = [&](const Sequence& row) { return static_cast<int64_t>(row.tokens.size()) + group.n_drawn; };
    int64_t missing = 0;
    for (const Sequence& row : group.rows) {
      missing += std::max<int64_t>(0, pool_.geometry().BlocksFor(length(row)) - row.blocks.size());
    }
    bool is_victim = false;
    while (missing > pool_.free() && !is_victim) {
      if (n_in_flight_ > 0) return false;
      Group* const victim = Victim(i, missing - pool_.free());
      is_victim = victim == &group;
      Preempt(*victim);
    }
    if (is_victim) {
      --i;
      continue;
    }
    for (Sequence& row : group.rows) row.Reserve(length(row), group.Capacity(row));
  }
  return true;
}

// Groups before `first` are in this step already. The last one is the youngest of the lowest priority; one of the same
// priority that holds few more blocks than are needed is preferred.
Group* Scheduler::Victim(size_t first, int64_t needed) const {
  Group* const last = running_.back();
  for (size_t i = running_.size(); i-- > first && running_[i]->priority == last->priority;) {
    if (running_[i]->BlocksHeld() <= kGreedyVictim * needed) return running_[i];
  }
  return last;
}

void Scheduler::Preempt(Group& group) {
  waiting_.Add(group);  // first, since this alone may throw
  StopRunning(group);
  ++group.preemptions;
  ++stats_.preemptions;
}

// --- The step ---

std::optional<Step> Scheduler::NextStep(double now) {
  at_hand_ = nullptr;
  if (n_to_collect_ > 0) return std::nullopt;
  Admit(now);
  if (!Grow()) return std::nullopt;
  at_hand_ = nullptr;
  StepBuilder builder(limits_.max_tokens, limits_.max_logit_rows, last_sizes_);
  for (Group* group : running_) {
    if (group->paused || !group->Decodes() || group->AwaitsItsEnd()) continue;
    at_hand_ = group;
    builder.Add(*group, builder.tokens_left());
  }
  ReadPrompts(builder);
  last_sizes_ = builder.sizes();
  return builder.Take();
}

// The group that came first prefills within what is left, less what shorter prompts of its priority need, up to half of
// it: so short prompts do not wait for all of a long one, and the long one makes progress whatever arrives. A group of
// many rows is predicted as one row, as long as its first.
void Scheduler::ReadPrompts(StepBuilder& builder) {
  std::vector<Group*>& prompts = prompts_;
  prompts.clear();
  for (Group* group : running_) {
    if (!group->paused && !group->Decodes()) prompts.push_back(group);
  }
  if (prompts.empty()) return;
  const StepWork decoding = builder.work();
  double target = limits_.step_target > 0 ? limits_.step_target : std::max(kMinStepTarget, 2 * cost_.Predict(decoding));
  const bool alone = decoding.tokens == 0;
  // Long enough that fetching the weights does not dominate.
  if (alone) target = kPromptsAlone * std::max(target, 2 * cost_.Predict(StepWork().With(1, 0)));
  std::sort(prompts.begin() + 1, prompts.end(), [](const Group* a, const Group* b) {
    return std::tuple(-a->priority, a->Remaining(), a->order) < std::tuple(-b->priority, b->Remaining(), b->order);
  });
  // Reserved for the shorter ones: up to half of the tokens and of the time.
  int64_t kept_tokens = 0;
  StepWork with_shorter = decoding;
  for (const Group* group : prompts) {
    if (group->priority < prompts.front()->priority || group->Remaining() >= prompts.front()->Remaining()) continue;
    kept_tokens += group->Remaining();
    with_shorter = with_shorter.With(group->Remaining(), group->rows.front().n_submitted);
  }
  kept_tokens = std::min(kept_tokens, builder.tokens_left() / 2);
  const double before = cost_.Predict(decoding);
  const double kept_time = std::clamp(cost_.Predict(with_shorter) - before, 0.0, std::max(0.0, (target - before) / 2));
  for (Group* group : prompts) {
    const bool first = group == prompts.front();
    const int64_t most = builder.tokens_left() - (first ? kept_tokens : 0);
    if (most == 0 || (!first && cost_.Predict(builder.work()) >= target)) return;
    const double end = target - (first ? kept_time : 0);
    const int64_t least = alone && first ? std::min(kMinTokensAlone, most) : 1;
    at_hand_ = group;
    builder.Add(*group,
                std::max(least, cost_.TokensWithin(end, builder.work(), group->rows.front().n_submitted, most)));
  }
}

void Scheduler::OnSubmitted(const Step& step) {
  ++n_in_flight_;
  bool completes_prompt = false;
  for (size_t g = 0; g < step.groups.size(); ++g) {
    const Step::GroupPart& part = step.groups[g];
    ++part.group->n_in_flight;
    completes_prompt = completes_prompt || part.completes_prompt;
    if (!part.draws) continue;
    ++part.group->n_drawn;
    part.group->drawn_by = static_cast<int32_t>(g);
  }
  for (const Step::Row& row : step.rows) {
    row.sequence->n_submitted += row.n_new;
    row.sequence->ring_ready = true;
  }
  if (completes_prompt) ++n_to_collect_;
}

void Scheduler::StepFailed(const Step& step) {
  --n_in_flight_;
  if (std::ranges::any_of(step.groups, &Step::GroupPart::completes_prompt)) --n_to_collect_;
  for (const Step::GroupPart& part : step.groups) {
    Group& group = *part.group;
    --group.n_in_flight;
    if (part.draws) --group.n_drawn;
    if (!IsVoid(part) || group.n_in_flight > 0) continue;
    for (Sequence& row : group.rows) row.Free();
    free_at_refusal_ = -1;
  }
}

void Scheduler::StepDone(const Step& step, double seconds) {
  StepFailed(step);  // the common part: it is no longer in flight
  cost_.Observe(step.work, seconds);
  for (const Step::GroupPart& part : step.groups) {
    if (IsVoid(part)) continue;
    int64_t tokens = 0;
    for (int32_t r = part.first_row; r < part.first_row + part.n_rows; ++r) {
      const Step::Row& row = step.rows[static_cast<size_t>(r)];
      row.sequence->n_computed += row.n_new;
      tokens += row.n_new;
      if (limits_.prefix_cache) Publish(*row.sequence);
    }
    waiting_.Charge(part.group->client, tokens);
  }
}

void Scheduler::Publish(Sequence& row) {
  const int64_t size = pool_.geometry().block_tokens;
  for (; (row.n_published + 1) * size <= row.n_computed; ++row.n_published) {
    const std::span<const TokenId> tokens(row.tokens.data() + row.n_published * size, static_cast<size_t>(size));
    cache_.Publish(row.blocks.blocks()[static_cast<size_t>(row.n_published)], tokens, row.prefix);
  }
}

}  // namespace longhaul
