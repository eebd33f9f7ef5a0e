#include "tests/support/fake_runner.h"

#include <algorithm>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/decoding/log_softmax.h"
#include "engine/decoding/nbce_combiner.h"

namespace longhaul {

FakeRunner::FakeRunner(Options options, FakeTime& time)
    : options_(std::move(options)), time_(time), cache_(static_cast<size_t>(options_.geometry.tokens()), -1) {
  info_.backend.name = "fake";
  info_.backend.threads = 1;
  info_.limits = options_.limits;
  info_.geometry = options_.geometry;
  info_.one_step_ahead = options_.one_step_ahead;
  bounds_ = {.limits = options_.limits,
             .geometry = options_.geometry,
             .head_dim = 1 << 20,
             .vocabulary_size = options_.vocabulary_size};
}

absl::StatusOr<Ticket> FakeRunner::Submit(Batch batch) {
  LH_RETURN_IF_ERROR(CheckBatch(batch, bounds_, drew_));
  MutexLock lock(mutex_);
  const int64_t number = submitted_++;
  const auto failure = submit_failures_.find(number);
  if (failure != submit_failures_.end()) {
    if (absl::IsUnavailable(failure->second)) lost_ = failure->second;
    return failure->second;
  }
  if (!lost_.ok()) return lost_;
  drew_.clear();
  for (const BatchGroup& group : batch.groups) drew_.push_back(group.draw.has_value());
  batches_.push_back(batch);
  in_flight_.push_back({std::move(batch), number, time_.Now()});
  max_in_flight_ = std::max(max_in_flight_, static_cast<int64_t>(in_flight_.size()));
  return static_cast<Ticket>(next_ticket_++);
}

absl::StatusOr<StepResult> FakeRunner::Collect(Ticket ticket) {
  const InFlight flying = std::move(in_flight_.front());
  in_flight_.pop_front();
  if (static_cast<int64_t>(ticket) != next_ticket_ - static_cast<int64_t>(in_flight_.size()) - 1) {
    return absl::InternalError("a step is collected out of order");
  }
  absl::Status failure;
  {
    MutexLock lock(mutex_);
    if (holds_ && passes_ > 0) {
      --passes_;
    } else {
      is_held_ = holds_;
      changed_.NotifyAll();
      while (holds_ && passes_ == 0) changed_.Wait(mutex_);
      if (holds_) --passes_;
      is_held_ = false;
    }
    const auto found = collect_failures_.find(flying.number);
    if (found != collect_failures_.end()) failure = found->second;
    if (absl::IsUnavailable(failure)) lost_ = failure;
    if (!lost_.ok()) failure = lost_;
  }
  // A step begins when it was submitted and the one before it has ended.
  last_end_ = std::max(flying.submitted, last_end_) + options_.step_time(flying.batch);
  time_.AdvanceTo(last_end_);
  if (failure.ok()) return Run(flying.batch);
  before_.assign(flying.batch.groups.size(), {});
  return failure;
}

std::vector<TokenId> FakeRunner::ReadRow(const Batch& batch, const BatchRow& row) {
  const int64_t size = options_.geometry.block_tokens;
  const auto slot = [&](int64_t position) -> TokenId& {
    const BlockId block = batch.Blocks(row)[static_cast<size_t>(position / size)];
    return cache_[static_cast<size_t>(block * size + position % size)];
  };
  for (int64_t i = 0; i < row.n_new; ++i) {
    const TokenId token = batch.tokens[static_cast<size_t>(row.first_token + i)];
    slot(row.length + i) = IsDrawn(token) ? before_[static_cast<size_t>(DrawingGroup(token))].drawn.id : token;
  }
  std::vector<TokenId> text;
  for (int64_t position = 0; position < row.length + row.n_new; ++position) text.push_back(slot(position));
  return text;
}

StepResult FakeRunner::Run(const Batch& batch) {
  std::vector<std::vector<TokenId>> texts;
  for (const BatchRow& row : batch.rows) texts.push_back(ReadRow(batch, row));
  const auto logits_of = [&](int64_t token) {
    const auto r = static_cast<size_t>(batch.row_of[static_cast<size_t>(token)]);
    const int64_t position = batch.positions[static_cast<size_t>(token)];
    return options_.logits(std::span(texts[r]).first(static_cast<size_t>(position + 1)));
  };
  StepResult result;
  for (const BatchGroup& group : batch.groups) {
    GroupResult& made = result.groups.emplace_back();
    for (const WantedLogits& wanted : batch.Scored(group)) {
      const std::vector<float> logits = logits_of(wanted.token);
      const float log_sum_exp = LogSumExp(logits);
      made.scores.push_back({LogProbability(logits[static_cast<size_t>(wanted.target)], log_sum_exp),
                             TopLogprobs(logits, log_sum_exp, group.top_scores)});
    }
    if (!group.draw.has_value()) continue;
    std::vector<float> all;
    for (int32_t r = group.first_row; r < group.first_row + group.n_rows; ++r) {
      const BatchRow& row = batch.rows[static_cast<size_t>(r)];
      const std::vector<float> logits = logits_of(row.first_token + row.n_new - 1);
      all.insert(all.end(), logits.begin(), logits.end());
    }
    const BatchRow& row = batch.rows[static_cast<size_t>(group.first_row)];
    const TokenId last = batch.tokens[static_cast<size_t>(row.first_token + row.n_new - 1)];
    const GroupResult* const drawer = IsDrawn(last) ? &before_[static_cast<size_t>(DrawingGroup(last))] : nullptr;
    const SamplerInput input = batch.SamplerInputOf(*group.draw, drawer != nullptr ? drawer->drawn.id : -1);
    if (group.draw->merge.has_value()) {
      const auto vocabulary = static_cast<size_t>(options_.vocabulary_size);
      const NbceResult merged =
          CombineNbce({all.data(), static_cast<size_t>(group.n_rows), vocabulary, vocabulary},
                      group.draw->merge->params, drawer != nullptr ? drawer->choice.row : group.draw->previous);
      made.choice = {merged.chosen, merged.entropies, merged.fell_back};
      const std::vector<float> rows = std::exchange(all, merged.logits);
      made.drawn = SampleToken(all, input);
      if (made.drawn.id < 0 && merged.chosen > 0 && group.draw->merge->if_nothing_drawn == MergeSource::kChosenRow) {
        made.choice.fell_back = true;
        made.drawn =
            SampleToken(std::span(rows).subspan(static_cast<size_t>(merged.chosen) * vocabulary, vocabulary), input);
      }
      continue;
    }
    made.drawn = SampleToken(all, input);
  }
  before_ = result.groups;
  return result;
}

void FakeRunner::FailSubmit(int64_t step, absl::Status status) {
  MutexLock lock(mutex_);
  submit_failures_[step] = std::move(status);
}

void FakeRunner::FailCollect(int64_t step, absl::Status status) {
  MutexLock lock(mutex_);
  collect_failures_[step] = std::move(status);
}

void FakeRunner::Hold() {
  MutexLock lock(mutex_);
  holds_ = true;
  passes_ = 0;
}

void FakeRunner::AwaitHeld() {
  MutexLock lock(mutex_);
  while (!is_held_) changed_.Wait(mutex_);
}

void FakeRunner::Resume(int64_t steps) {
  MutexLock lock(mutex_);
  holds_ = steps > 0;
  passes_ = steps;
  is_held_ = false;
  changed_.NotifyAll();
}

int64_t FakeRunner::submitted() const {
  MutexLock lock(mutex_);
  return submitted_;
}

int64_t FakeRunner::max_in_flight() const {
  MutexLock lock(mutex_);
  return max_in_flight_;
}

std::vector<Batch> FakeRunner::batches() const {
  MutexLock lock(mutex_);
  return batches_;
}

}  // namespace longhaul
