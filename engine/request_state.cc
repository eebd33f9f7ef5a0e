#include "engine/request_state.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"

namespace longhaul {
namespace {

double Seconds(Clock::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

}  // namespace

const char* Name(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kEos:
      return "eos";
    case FinishReason::kCancelled:
      return "cancelled";
    case FinishReason::kDeadline:
      return "deadline";
    case FinishReason::kStalled:
      return "stalled";
    case FinishReason::kError:
      return "error";
  }
  return "unknown";
}

absl::Status DeadlineError(const Request& request) {
  if (request.max_time.count() == 0) return absl::DeadlineExceededError("the request's deadline has passed");
  return absl::DeadlineExceededError(
      absl::StrCat("the request took longer than ", request.max_time.count(),
                   " ms, what the server allows without a deadline (--max-request-time)"));
}

RequestState::RequestState(Request request, std::shared_ptr<EventStream> stream, Clock::time_point submitted,
                           Started started, RotaryPlan plan)
    : request_(std::move(request)),
      plan_(std::move(plan)),
      stream_(std::move(stream)),
      started_(std::move(started)),
      submitted_(submitted),
      last_progress_(submitted) {
  group_.client = request_.client;
  group_.priority = request_.priority;
}

void RequestState::EmitStarted(int64_t cached_tokens) {
  started_.cached_tokens = cached_tokens;
  Emit(started_);
}

void RequestState::Emit(Event event) {
  if (ready_ == nullptr) {
    stream_->Push(std::move(event));
  } else if (stream_->PushQuietly(std::move(event))) {
    ready_->push_back(stream_);
  }
}

void RequestState::set_telemetry(Telemetry& telemetry) {
  telemetry_ = &telemetry.Of(started_.position, DecodingKind::kPlain);
  if (started_.refit) telemetry_->refits.Add();
}

void RequestState::BeforeStep(Clock::time_point now) {
  if (!was_scheduled_) {
    was_scheduled_ = true;
    first_step_ = last_progress_ = now;
    if (record_ != nullptr) record_->LeaveQueue();
  }
  PrepareSampler();
}

bool RequestState::AfterStep(const SamplerResult* sampled, std::span<TokenScore> scores, Clock::time_point now) {
  const int64_t remaining = group_.Remaining();
  if (remaining == 0 && !is_prompt_read_) {
    is_prompt_read_ = true;
    prompt_read_ = now;
  }
  if (!scores.empty()) OnScores(scores, now);
  if (sampled != nullptr) {
    OnSampled(*sampled, now);
  } else if (remaining == 0) {
    OnNothingLeft(now);
  }
  const bool wants_progress =
      std::holds_alternative<ScoreParams>(request_.params) || std::get<GenerateParams>(request_.params).output.progress;
  if (!finished_ && !is_prompt_read_ && wants_progress && now - last_progress_ >= progress_interval_) {
    last_progress_ = now;
    Emit(Progress{started_.prompt_tokens - remaining, started_.prompt_tokens});
  }
  return finished_;
}

void RequestState::CountToken(Clock::time_point now) {
  const bool is_first = completion_tokens_++ == 0;
  if (is_first) first_token_ = now;
  if (telemetry_ != nullptr) telemetry_->OnToken(is_first, now - (is_first ? submitted_ : last_token_));
  last_token_ = now;
}

void RequestState::Finish(FinishReason reason, absl::Status status, Clock::time_point now) {
  if (finished_) return;
  finished_ = true;
  OnFinish();
  Finished finished;
  finished.reason = reason;
  finished.status = std::move(status);
  finished.usage = {started_.prompt_tokens, group_.cached_tokens.value_or(0), completion_tokens_};
  finished.timings.queue = Seconds((was_scheduled_ ? first_step_ : now) - submitted_);
  if (was_scheduled_) finished.timings.prefill = Seconds((is_prompt_read_ ? prompt_read_ : now) - first_step_);
  if (is_prompt_read_) finished.timings.decode = Seconds(now - prompt_read_);
  if (completion_tokens_ > 0) finished.timings.first_token = Seconds(first_token_ - submitted_);
  record_.reset();  // the client may ask for the next one as soon as it reads this
  if (telemetry_ != nullptr) {
    const bool scores = std::holds_alternative<ScoreParams>(request_.params);
    telemetry_->OnFinished(scores ? RequestMethod::kScore : RequestMethod::kGenerate, finished, now - submitted_,
                           now - first_token_);
  }
  Emit(std::move(finished));
}

absl::Status RequestState::Track(std::shared_ptr<RequestRecord> record, double retry_after) {
  int64_t row_tokens = 0;
  for (const Sequence& row : group_.rows) row_tokens += std::ssize(row.tokens);
  LH_RETURN_IF_ERROR(record->Enqueue(started_.position, std::ssize(group_.rows), row_tokens, retry_after));
  record_ = std::move(record);
  return absl::OkStatus();
}

void RequestState::PublishProgress() const {
  if (record_ == nullptr) return;
  RequestProgress progress;
  if (was_scheduled_) progress.phase = is_prompt_read_ ? RequestPhase::kDecode : RequestPhase::kPrefill;
  progress.tokens_generated = completion_tokens_;
  for (const Sequence& row : group_.rows) {
    progress.tokens_read += std::min(row.n_computed, std::ssize(row.tokens) - completion_tokens_);
    progress.blocks += std::ssize(row.blocks.blocks()) + std::ssize(row.ring.blocks());
  }
  record_->SetProgress(progress);
}

GenerateState::GenerateState(Request request, std::shared_ptr<EventStream> stream, Clock::time_point submitted,
                             Started started, std::vector<TokenId> prompt, RotaryPlan plan, const Tokenizer& tokenizer,
                             BlockPool& pool)
    : RequestState(std::move(request), std::move(stream), submitted, started, std::move(plan)),
      tokenizer_(tokenizer),
      max_tokens_(started.max_tokens),
      detokenizer_(tokenizer),
      stop_matcher_(params().stopping.stop) {
  sampler_.params = params().sampling;
  sampler_.params.seed = started.seed;
  sampler_.top_logprobs = params().output.logprobs.value_or(-1);
  counts_tokens_ = sampler_.params.repetition_penalty != 1 || sampler_.params.presence_penalty != 0 ||
                   sampler_.params.frequency_penalty != 0;
  if (counts_tokens_) {
    for (TokenId id : prompt) ++sampler_.prompt_counts[id];
  }
  group_.capacity = static_cast<int64_t>(prompt.size()) + max_tokens_;
  group_.rows.emplace_back(std::move(prompt), plan_, pool);
  group_.sampler = max_tokens_ > 0 ? &sampler_ : nullptr;
}

void GenerateState::PrepareSampler() {
  const StoppingParams& stopping = params().stopping;
  sampler_.index = static_cast<uint64_t>(completion_tokens_);
  sampler_.forbidden.clear();
  const bool too_early = completion_tokens_ < stopping.min_tokens;
  if (too_early || stopping.ignore_eos) sampler_.forbidden = tokenizer_.end_tokens();
  if (too_early) {
    sampler_.forbidden.insert(sampler_.forbidden.end(), stopping.stop_token_ids.begin(), stopping.stop_token_ids.end());
  }
}

void GenerateState::OnSampled(const SamplerResult& sampled, Clock::time_point now) {
  const StoppingParams& stopping = params().stopping;
  if (sampled.id < 0) {
    Finish(FinishReason::kError,
           absl::InternalError("no token can be drawn: all are forbidden, or the model's logits "
                               "are not numbers"),
           now);
    return;
  }
  const auto& stop_ids = stopping.stop_token_ids;
  if (std::find(stop_ids.begin(), stop_ids.end(), sampled.id) != stop_ids.end()) {
    Finish(FinishReason::kStop, absl::OkStatus(), now);
    return;
  }
  if (tokenizer_.IsEnd(sampled.id)) {
    Finish(FinishReason::kEos, absl::OkStatus(), now);
    return;
  }
  CountToken(now);
  for (Sequence& row : group_.rows) row.tokens.push_back(sampled.id);
  if (counts_tokens_) {
    ++sampler_.answer_counts[sampled.id];
  }
  if (params().output.token_ids || sampler_.top_logprobs >= 0) {
    ChunkToken token;
    token.id = sampled.id;
    if (sampler_.top_logprobs >= 0) token.logprob = sampled.logprob;
    token.top = sampled.top;
    pending_.tokens.push_back(std::move(token));
  }
  AppendText(detokenizer_.Append(sampled.id));
  if (stop_matcher_.stopped()) {
    Finish(FinishReason::kStop, absl::OkStatus(), now);
  } else if (completion_tokens_ == max_tokens_) {
    Finish(FinishReason::kLength, absl::OkStatus(), now);
  } else {
    EmitPending();
  }
}

void GenerateState::AppendText(const std::string& text) {
  // Before min_tokens nothing ends the answer, so the stop strings do not see its text.
  pending_.text += completion_tokens_ < params().stopping.min_tokens ? text : stop_matcher_.Append(text);
}

void GenerateState::EmitPending() {
  if (pending_.text.empty() && pending_.tokens.empty()) return;
  Emit(std::exchange(pending_, Chunk()));
}

void GenerateState::OnFinish() {
  if (!stop_matcher_.stopped()) {
    AppendText(detokenizer_.Finish());
    pending_.text += stop_matcher_.Finish();
  }
  EmitPending();
}

ScoreState::ScoreState(Request request, std::shared_ptr<EventStream> stream, Clock::time_point submitted,
                       Started started, std::vector<TokenId> text, int64_t first_token, RotaryPlan plan,
                       BlockPool& pool)
    : RequestState(std::move(request), std::move(stream), submitted, std::move(started), std::move(plan)),
      top_logprobs_(std::get<ScoreParams>(request_.params).top_logprobs),
      next_token_(first_token) {
  group_.capacity = static_cast<int64_t>(text.size());
  group_.rows.emplace_back(std::move(text), plan_, pool);
  group_.score_from = first_token;
  group_.top_scores = top_logprobs_;
}

void ScoreState::OnScores(std::span<TokenScore> scores, Clock::time_point) {
  ScoreChunk chunk;
  chunk.first_token = next_token_;
  for (TokenScore& score : scores) {
    ScoredToken token{score.logprob, std::move(score.top)};
    if (static_cast<int>(token.top.size()) > top_logprobs_) token.top.resize(static_cast<size_t>(top_logprobs_));
    chunk.tokens.push_back(std::move(token));
  }
  next_token_ += static_cast<int64_t>(scores.size());
  group_.score_from = next_token_;  // should the text be read again, this much has been told
  Emit(std::move(chunk));
}

}  // namespace longhaul
