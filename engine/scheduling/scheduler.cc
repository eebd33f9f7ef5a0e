#include "engine/scheduling/scheduler.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "absl/cleanup/cleanup.h"

namespace longhaul {
namespace {

// Candidates that are asked whether they fit where the first of the queue does not.
constexpr size_t kMaxCandidates = 8;

// A victim should not hold more than so many times the blocks that are needed while a smaller one would do.
constexpr int64_t kGreedyVictim = 4;

constexpr double kMinStepTarget = 0.020;

// A step in which nobody decodes may take so many times as long: only who comes meanwhile waits for its end.
constexpr double kPromptsAlone = 5;
// And it has at least so many tokens, which fetch the keys before them together.
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
  StopRunning(group);
  waiting_.Remove(group);
  waiting_.Depart(group);
}

void Scheduler::StopRunning(Group& group) {
  if (std::erase(running_, &group) > 0) running_rows_ -= static_cast<int64_t>(group.rows.size());
  free_at_refusal_ = -1;
  for (Sequence& row : group.rows) row.Free();
}

// --- Admission ---

// A hit never covers a row's last token, whose logits are wanted, nor one before a token that is scored.
int64_t Scheduler::MaxCachedBlocks(const Group& group, const Sequence& row) const {
  if (!limits_.prefix_cache) return 0;
  const int64_t last = group.score_from > 0 ? group.score_from - 1 : static_cast<int64_t>(row.tokens.size()) - 1;
  return last / kBlockTokens;
}

int64_t Scheduler::CachedTokens(const Group& group) const {
  int64_t blocks = 0;
  for (const Sequence& row : group.rows) {
    blocks +=
        cache_.Peek(row.tokens, MaxCachedBlocks(group, row), PrefixCache::Empty(group.scope, row.plan->fingerprint));
  }
  return blocks * kBlockTokens;
}

void Scheduler::TakeCached(Group& group) {
  for (Sequence& row : group.rows) {
    row.prefix = PrefixCache::Empty(group.scope, row.plan->fingerprint);
    if (!limits_.prefix_cache) continue;
    const int64_t most = MaxCachedBlocks(group, row);
    row.blocks.MakeRoom(std::max<int64_t>(most, 0));
    for (BlockId block : cache_.Take(row.tokens, most, row.prefix)) row.blocks.Append(block);
    row.n_published = static_cast<int64_t>(row.blocks.blocks().size());
    row.n_computed = row.n_published * kBlockTokens;
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
  // A block for each row that runs, so that the next tokens do not preempt somebody at once.
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

void Scheduler::Grow() {
  for (size_t i = 0; i < running_.size(); ++i) {
    Group& group = *running_[i];
    if (!group.Decodes()) continue;
    at_hand_ = &group;
    int64_t missing = 0;
    for (const Sequence& row : group.rows) {
      missing += BlocksFor(static_cast<int64_t>(row.tokens.size())) - static_cast<int64_t>(row.blocks.blocks().size());
    }
    bool is_victim = false;
    while (missing > pool_.free() && !is_victim) {
      Group* const victim = Victim(i, missing - pool_.free());
      is_victim = victim == &group;
      Preempt(*victim);
    }
    if (is_victim) {
      --i;
      continue;
    }
    for (Sequence& row : group.rows) row.Reserve(static_cast<int64_t>(row.tokens.size()), group.Capacity(row));
  }
}

// Groups before `first` have their place in this step already; the last one is the youngest of the lowest priority. One
// of that priority that holds not many more blocks than are needed is better.
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

// --- The batch ---

const Batch& Scheduler::NextBatch(double now) {
  at_hand_ = nullptr;
  Admit(now);
  Grow();
  at_hand_ = nullptr;
  batch_ = Batch();
  scheduled_.clear();
  batch_rows_.clear();
  logit_rows_ = 0;
  work_ = StepWork();
  for (Group* group : running_) {
    if (!group->paused && group->Decodes()) Schedule(*group, TokensLeft());
  }
  ReadPrompts();
  if (std::all_of(batch_.targets.begin(), batch_.targets.end(), [](TokenId id) { return id < 0; })) {
    batch_.targets.clear();
  }
  return batch_;
}

// The first of the prompts has what is left, but for what shorter ones of its priority need, up to half of it: so the
// shortest do not wait for the whole of a long prompt, and that comes to its end whoever else comes. A group of many
// rows counts as one row here, as deep as its first.
void Scheduler::ReadPrompts() {
  std::vector<Group*>& prompts = prompts_;
  prompts.clear();
  for (Group* group : running_) {
    if (!group->paused && !group->Decodes()) prompts.push_back(group);
  }
  if (prompts.empty()) return;
  const StepWork decoding = work_;
  double target = limits_.step_target > 0 ? limits_.step_target : std::max(kMinStepTarget, 2 * cost_.Predict(decoding));
  const bool alone = decoding.tokens == 0;
  // Not so short that fetching the weights takes most of it.
  if (alone) target = kPromptsAlone * std::max(target, 2 * cost_.Predict(StepWork().With(1, 0)));
  std::sort(prompts.begin() + 1, prompts.end(), [](const Group* a, const Group* b) {
    return std::tuple(-a->priority, a->Remaining(), a->order) < std::tuple(-b->priority, b->Remaining(), b->order);
  });
  // What the shorter ones of its priority need, up to half of the tokens and of the time, is kept from the first.
  int64_t kept_tokens = 0;
  StepWork with_shorter = decoding;
  for (const Group* group : prompts) {
    if (group->priority < prompts.front()->priority || group->Remaining() >= prompts.front()->Remaining()) continue;
    kept_tokens += group->Remaining();
    with_shorter = with_shorter.With(group->Remaining(), group->rows.front().n_computed);
  }
  kept_tokens = std::min(kept_tokens, TokensLeft() / 2);
  const double before = cost_.Predict(decoding);
  const double kept_time = std::clamp(cost_.Predict(with_shorter) - before, 0.0, std::max(0.0, (target - before) / 2));
  for (Group* group : prompts) {
    const bool first = group == prompts.front();
    const int64_t most = TokensLeft() - (first ? kept_tokens : 0);
    if (most == 0 || (!first && cost_.Predict(work_) >= target)) return;
    const double end = target - (first ? kept_time : 0);
    const int64_t least = alone && first ? std::min(kMinTokensAlone, most) : 1;
    Schedule(*group, std::max(least, cost_.TokensWithin(end, work_, group->rows.front().n_computed, most)));
  }
}

void Scheduler::Schedule(Group& group, int64_t max_tokens) {
  at_hand_ = &group;
  const int64_t n_rows = static_cast<int64_t>(group.rows.size());
  // The last tokens of all rows belong into one step, because the group's next token is made of all their logits.
  const bool completes = group.Remaining() <= max_tokens && logit_rows_ + n_rows <= limits_.max_logit_rows;
  const int first_row = static_cast<int>(batch_.rows.size());
  const int64_t end = batch_.n_tokens() + (completes ? group.Remaining() : max_tokens);
  for (Sequence& row : group.rows) {
    const bool keeps_last = !completes && group.score_from == 0;
    int64_t n_new = std::min(group.Remaining(row) - (keeps_last ? 1 : 0), end - batch_.n_tokens());
    if (group.score_from > 0) n_new = std::min(n_new, limits_.max_logit_rows - logit_rows_);
    if (n_new > 0) AppendRow(group, row, n_new);
  }
  const int scheduled_rows = static_cast<int>(batch_.rows.size()) - first_row;
  if (scheduled_rows == 0) return;
  const bool due = completes && group.score_from == 0;
  batch_.groups.push_back({first_row, scheduled_rows, due ? group.sampler : nullptr, due ? group.nbce : nullptr});
  if (group.score_from > 0) batch_.top_scores = std::max(batch_.top_scores, group.top_scores);
  scheduled_.push_back(&group);
}

void Scheduler::AppendRow(const Group& group, Sequence& row, int64_t n_new) {
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
  work_ = work_.With(n_new, row.n_computed);
  batch_.rows.push_back(entry);
  batch_rows_.push_back(&row);
}

int Scheduler::PlanIndex(const RotaryPlan* plan) {
  const auto found = std::find(batch_.plans.begin(), batch_.plans.end(), plan);
  const auto index = found - batch_.plans.begin();
  if (found == batch_.plans.end()) batch_.plans.push_back(plan);
  return static_cast<int>(index);
}

void Scheduler::StepDone(double seconds) {
  cost_.Observe(work_, seconds);
  for (size_t g = 0; g < scheduled_.size(); ++g) {
    const BatchGroup& group = batch_.groups[g];
    int64_t tokens = 0;
    for (int r = group.first_row; r < group.first_row + group.n_rows; ++r) {
      Sequence& row = *batch_rows_[static_cast<size_t>(r)];
      row.n_computed += batch_.rows[static_cast<size_t>(r)].n_new;
      row.ring_ready = true;
      tokens += batch_.rows[static_cast<size_t>(r)].n_new;
      if (limits_.prefix_cache) Publish(row);
    }
    waiting_.Charge(scheduled_[g]->client, tokens);
  }
}

void Scheduler::Publish(Sequence& row) {
  for (; (row.n_published + 1) * kBlockTokens <= row.n_computed; ++row.n_published) {
    const std::span<const TokenId> tokens(row.tokens.data() + row.n_published * kBlockTokens, kBlockTokens);
    cache_.Publish(row.blocks.blocks()[static_cast<size_t>(row.n_published)], tokens, row.prefix);
  }
}

}  // namespace longhaul
