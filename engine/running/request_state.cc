#include "engine/running/request_state.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <new>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/exceptions.h"
#include "engine/base/prefetch.h"

namespace longhaul {
namespace {

double Seconds(Clock::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

}  // namespace

RequestState::RequestState(RequestParts parts, const RunningContext& context)
    : n_rows_(parts.rows.rows.size()),
      context_(context),
      of_mode_(
          context.telemetry.Of(parts.started.position, has_contexts() ? DecodingKind::kNbce : DecodingKind::kPlain)),
      stream_(std::move(parts.stream)),
      record_(std::move(parts.record)),
      submitted_(parts.submitted),
      last_progress_(parts.submitted),
      started_(std::move(parts.started)),
      document_ids_(std::move(parts.rows.document_ids)),
      request_(std::move(parts.request)) {
  Group& group = AddGroup();
  for (PromptRows::Row& row : parts.rows.rows) {
    group.rows.emplace_back(std::move(row.tokens), std::move(row.plan), context_.pool);
  }
  if (started_.refit) of_mode_.refits.Add();
  if (has_contexts()) context_.telemetry.contexts.Observe(static_cast<int64_t>(n_rows_) - 1);
}

Group& RequestState::AddGroup() {
  Group& group = groups_.emplace_back();
  group.client = request_.client;
  group.priority = request_.priority;
  group.sample = groups_.size() - 1;
  if (group.sample == 0) return group;
  for (const Sequence& row : groups_.front().rows) {
    group.rows.emplace_back(std::vector(row.tokens.begin(), row.tokens.begin() + row.prompt_tokens), row.plan,
                            context_.pool);
  }
  return group;
}

void RequestState::EmitStarted(int64_t cached_tokens) {
  started_.cached_tokens = cached_tokens;
  Emit(Started(started_));
  has_started_ = true;
}

void RequestState::Emit(Event&& event) {
  if (!stream_->PushQuietly(std::move(event))) return;
  try {
    context_.ready.push_back(stream_.get());
  } catch (const std::bad_alloc&) {
    stream_->TellReader(/*more=*/false);
  }
}

void RequestState::BeforeStep(Clock::time_point now) {
  if (was_scheduled_) return;
  was_scheduled_ = true;
  first_step_ = last_progress_ = now;
  record_->LeaveQueue();
}

void RequestState::PrefetchSelf(const Group& group) const {
  Prefetch(this, &submitted_);
  Prefetch(&group, &group.priority);
}

void RequestState::PrefetchReached(const Group& group, bool drew, const GroupResult& result) const {
  for (const Sequence& row : group.rows) {
    Prefetch(&row, &row.blocks);
    Prefetch(row.tokens.data() + row.tokens.size());
  }
  stream_->PrefetchPush();
  if (drew) PrefetchDrawn(group, result.drawn);
}

bool RequestState::AfterStep(Group& group, bool drew, GroupResult& result, Clock::time_point now) {
  const int64_t remaining = group.Uncomputed();
  if (remaining == 0) {
    group.prompt_read = true;
    if (!is_prompt_read_) prompt_read_ = now;
    is_prompt_read_ = true;
  }
  if (!result.scores.empty()) OnScores(result.scores, now);
  for (size_t row = 0; row < result.choice.entropies.size(); ++row) {
    // The other rows could answer, but not what was asked for.
    if (std::isnan(result.choice.entropies[row])) {
      const std::string which = row == 0 ? "the row without a document" : absl::StrCat("the row of document ", row - 1);
      Finish(FinishReason::kError, NotNumbers(absl::StrCat(which, " cannot be combined")), now);
      break;
    }
  }
  if (finished_) return true;
  bool ended = false;
  if (drew) {
    ended = OnDrawn(group, result, now);
  } else if (remaining == 0) {
    // The prompt has been prefilled and no token is wanted.
    ended = true;
    Finish(FinishReason::kLength, absl::OkStatus(), now);
  }
  if (is_prompt_read_ || finished_) return ended;
  const bool wants_progress =
      std::holds_alternative<ScoreParams>(request_.params) || std::get<GenerateParams>(request_.params).output.progress;
  if (wants_progress && now - last_progress_ >= context_.progress_interval) {
    last_progress_ = now;
    Emit(Progress{started_.prompt_tokens - remaining, started_.prompt_tokens});
  }
  return ended;
}

void RequestState::CountToken(std::optional<Clock::duration> gap, Clock::time_point now) {
  if (completion_tokens_++ == 0) {
    first_token_ = now;
    of_mode_.time_to_first_token.Observe(now - submitted_);
  }
  of_mode_.generated.Add();
  if (gap.has_value()) of_mode_.inter_token_latency.Observe(*gap);
}

void RequestState::CountChoice(const MergeChoice& choice, int32_t previous) {
  if (previous > 0 && choice.row != previous) context_.telemetry.context_switches.Add();
  if (choice.fell_back) context_.telemetry.nbce_fallbacks.Add();
}

absl::Status RequestState::NothingToDraw() {
  return absl::InternalError("no token can be drawn: all are forbidden, or the model's logits are not numbers");
}

absl::Status RequestState::NotNumbers(const std::string& what) {
  return absl::InternalError(absl::StrCat(what, ": the model's logits are not numbers"));
}

void RequestState::Finish(FinishReason reason, absl::Status status, Clock::time_point now) {
  if (finished_) return;
  finished_ = true;
  Finished finished;
  const absl::Status last_words = CatchExceptions([&] {
    OnFinish(finished);
    return absl::OkStatus();
  });
  finished.reason = last_words.ok() ? reason : FinishReason::kError;
  finished.status = last_words.ok() ? std::move(status) : last_words;
  EmitFinished(std::move(finished), now);
}

void RequestState::Fail(absl::Status status, Clock::time_point now) {
  if (finished_) return;
  finished_ = true;
  EmitFinished({.reason = FinishReason::kError, .status = std::move(status)}, now);
}

void RequestState::EmitFinished(Finished&& finished, Clock::time_point now) {
  finished.usage = {started_.prompt_tokens, groups_.front().cached_tokens.value_or(0), completion_tokens_};
  finished.timings.queue = Seconds((was_scheduled_ ? first_step_ : now) - submitted_);
  if (was_scheduled_) finished.timings.prefill = Seconds((is_prompt_read_ ? prompt_read_ : now) - first_step_);
  if (is_prompt_read_) finished.timings.decode = Seconds(now - prompt_read_);
  if (completion_tokens_ > 0) finished.timings.first_token = Seconds(first_token_ - submitted_);
  record_.reset();  // before the event: the client may send its next request as soon as it reads it
  finished.refused = !has_started_;
  if (has_started_) {
    const bool scores = std::holds_alternative<ScoreParams>(request_.params);
    of_mode_.OnFinished(scores ? RequestMethod::kScore : RequestMethod::kGenerate, finished, now - submitted_,
                        now - first_token_, n_samples());
  }
  Emit(std::move(finished));
}

void RequestState::PublishProgress() const {
  if (record_ == nullptr) return;
  RequestProgress progress;
  if (was_scheduled_) progress.phase = is_prompt_read_ ? RequestPhase::kDecode : RequestPhase::kPrefill;
  progress.tokens_generated = completion_tokens_;
  for (const Group& group : groups_) {
    for (const Sequence& row : group.rows) {
      progress.tokens_read += group.prompt_read ? row.prompt_tokens : std::min(row.n_computed, row.prompt_tokens);
      progress.blocks += row.blocks_held();
    }
  }
  record_->SetProgress(progress);
}

}  // namespace longhaul
