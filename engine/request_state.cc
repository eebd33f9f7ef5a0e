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
      last_progress_(submitted) {}

Group& RequestState::AddGroup() {
  Group& group = groups_.emplace_back();
  group.client = request_.client;
  group.priority = request_.priority;
  group.sample = groups_.size() - 1;
  return group;
}

void RequestState::EmitStarted(int64_t cached_tokens) {
  started_.cached_tokens = cached_tokens;
  stream_->Push(started_);
}

void RequestState::set_telemetry(Telemetry& telemetry) {
  telemetry_ = &telemetry.Of(started_.position, DecodingKind::kPlain);
  if (started_.refit) telemetry_->refits.Add();
}

void RequestState::BeforeStep(Group& group, Clock::time_point now) {
  if (!was_scheduled_) {
    was_scheduled_ = true;
    first_step_ = last_progress_ = now;
    if (record_ != nullptr) record_->LeaveQueue();
  }
  PrepareSampler(group);
}

bool RequestState::AfterStep(Group& group, const SamplerResult* sampled, std::span<TokenScore> scores,
                             Clock::time_point now) {
  const int64_t remaining = group.Remaining();
  if (remaining == 0) {
    group.prompt_read = true;
    if (!is_prompt_read_) prompt_read_ = now;
    is_prompt_read_ = true;
  }
  if (!scores.empty()) OnScores(scores, now);
  bool ended = false;
  if (sampled != nullptr) {
    ended = OnSampled(group, *sampled, now);
  } else if (remaining == 0) {
    // The prompt has been read to its end and no token is wanted.
    ended = true;
    Finish(FinishReason::kLength, absl::OkStatus(), now);
  }
  const bool wants_progress =
      std::holds_alternative<ScoreParams>(request_.params) || std::get<GenerateParams>(request_.params).output.progress;
  if (!finished_ && !is_prompt_read_ && wants_progress && now - last_progress_ >= progress_interval_) {
    last_progress_ = now;
    Emit(Progress{started_.prompt_tokens - remaining, started_.prompt_tokens});
  }
  return ended;
}

void RequestState::CountToken(std::optional<Clock::duration> gap, Clock::time_point now) {
  if (completion_tokens_++ == 0) {
    first_token_ = now;
    if (telemetry_ != nullptr) telemetry_->time_to_first_token.Observe(now - submitted_);
  }
  if (telemetry_ == nullptr) return;
  telemetry_->generated.Add();
  if (gap.has_value()) telemetry_->inter_token_latency.Observe(*gap);
}

void RequestState::Finish(FinishReason reason, absl::Status status, Clock::time_point now) {
  if (finished_) return;
  finished_ = true;
  OnFinish();
  Finished finished;
  finished.reason = reason;
  finished.status = std::move(status);
  finished.usage = {started_.prompt_tokens, groups_.front().cached_tokens.value_or(0), completion_tokens_};
  finished.timings.queue = Seconds((was_scheduled_ ? first_step_ : now) - submitted_);
  if (was_scheduled_) finished.timings.prefill = Seconds((is_prompt_read_ ? prompt_read_ : now) - first_step_);
  if (is_prompt_read_) finished.timings.decode = Seconds(now - prompt_read_);
  if (completion_tokens_ > 0) finished.timings.first_token = Seconds(first_token_ - submitted_);
  record_.reset();  // the client may ask for the next one as soon as it reads this
  if (telemetry_ != nullptr) {
    const bool scores = std::holds_alternative<ScoreParams>(request_.params);
    telemetry_->OnFinished(scores ? RequestMethod::kScore : RequestMethod::kGenerate, finished, now - submitted_,
                           now - first_token_, n_samples());
  }
  Emit(std::move(finished));
}

absl::Status RequestState::Track(std::shared_ptr<RequestRecord> record, double retry_after) {
  const Group& group = groups_.front();
  LH_RETURN_IF_ERROR(record->Enqueue(started_.position, std::ssize(group.rows) * n_samples(),
                                     group.RowTokens() * n_samples(), retry_after));
  record_ = std::move(record);
  return absl::OkStatus();
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

GenerateState::GenerateState(Request request, std::shared_ptr<EventStream> stream, Clock::time_point submitted,
                             Started started, std::vector<TokenId> prompt, RotaryPlan plan, const Tokenizer& tokenizer,
                             BlockPool& pool)
    : RequestState(std::move(request), std::move(stream), submitted, started, std::move(plan)),
      tokenizer_(tokenizer),
      pool_(pool),
      prompt_tokens_(std::ssize(prompt)),
      max_tokens_(started.max_tokens) {
  sampler_.params = params().sampling;
  sampler_.params.seed = started.seed;
  sampler_.top_logprobs = params().output.logprobs.value_or(-1);
  counts_tokens_ = sampler_.params.repetition_penalty != 1 || sampler_.params.presence_penalty != 0 ||
                   sampler_.params.frequency_penalty != 0;
  if (counts_tokens_) {
    for (TokenId id : prompt) ++sampler_.prompt_counts[id];
  }
  AddAnswer(std::move(prompt));
}

void GenerateState::AddAnswer(std::vector<TokenId> prompt) {
  Answer& answer = answers_.emplace_back(tokenizer_, params().stopping.stop);
  Group& group = AddGroup();
  answer.sampler = sampler_;
  answer.sampler.sample = params().first_sample + group.sample;
  answer.pending.sample = group.sample;
  group.capacity = prompt_tokens_ + max_tokens_;
  group.rows.emplace_back(std::move(prompt), plan_, pool_);
  group.sampler = max_tokens_ > 0 ? &answer.sampler : nullptr;
}

std::vector<Group*> GenerateState::MakeFurtherGroups() {
  std::vector<Group*> further;
  if (std::ssize(groups_) >= n_samples() || !groups_.front().prompt_read || finished()) return further;
  const std::vector<TokenId>& tokens = groups_.front().rows.front().tokens;
  while (std::ssize(groups_) < n_samples()) {
    AddAnswer({tokens.begin(), tokens.begin() + prompt_tokens_});
    further.push_back(&groups_.back());
  }
  return further;
}

void GenerateState::PrepareSampler(Group& group) {
  Answer& answer = answers_[group.sample];
  const StoppingParams& stopping = params().stopping;
  answer.sampler.index = static_cast<uint64_t>(answer.n_tokens);
  answer.sampler.forbidden.clear();
  const bool too_early = answer.n_tokens < stopping.min_tokens;
  if (too_early || stopping.ignore_eos) answer.sampler.forbidden = tokenizer_.end_tokens();
  if (too_early) {
    answer.sampler.forbidden.insert(answer.sampler.forbidden.end(), stopping.stop_token_ids.begin(),
                                    stopping.stop_token_ids.end());
  }
}

bool GenerateState::OnSampled(Group& group, const SamplerResult& sampled, Clock::time_point now) {
  Answer& answer = answers_[group.sample];
  if (sampled.id < 0) {
    Finish(FinishReason::kError,
           absl::InternalError("no token can be drawn: all are forbidden, or the model's logits "
                               "are not numbers"),
           now);
    return true;
  }
  const auto& stop_ids = params().stopping.stop_token_ids;
  if (std::find(stop_ids.begin(), stop_ids.end(), sampled.id) != stop_ids.end()) {
    End(answer, FinishReason::kStop, now);
    return true;
  }
  if (tokenizer_.IsEnd(sampled.id)) {
    End(answer, FinishReason::kEos, now);
    return true;
  }
  CountToken(answer.n_tokens > 0 ? std::optional(now - answer.last_token) : std::nullopt, now);
  ++answer.n_tokens;
  answer.last_token = now;
  for (Sequence& row : group.rows) row.tokens.push_back(sampled.id);
  if (counts_tokens_) ++answer.sampler.answer_counts[sampled.id];
  if (params().output.token_ids || answer.sampler.top_logprobs >= 0) {
    ChunkToken token;
    token.id = sampled.id;
    if (answer.sampler.top_logprobs >= 0) token.logprob = sampled.logprob;
    token.top = sampled.top;
    answer.pending.tokens.push_back(std::move(token));
  }
  AppendText(answer, answer.detokenizer.Append(sampled.id));
  if (answer.stop_matcher.stopped()) {
    End(answer, FinishReason::kStop, now);
  } else if (answer.n_tokens == max_tokens_) {
    End(answer, FinishReason::kLength, now);
  } else {
    EmitPending(answer);
  }
  return answer.ended;
}

void GenerateState::End(Answer& answer, FinishReason reason, Clock::time_point now) {
  AppendRest(answer);
  answer.ended = true;
  if (n_samples() > 1) answer.pending.ended = reason;
  if (answer.pending.sample == 0) first_reason_ = reason;
  EmitPending(answer);
  if (++n_ended_ == n_samples()) Finish(first_reason_, absl::OkStatus(), now);
}

void GenerateState::AppendText(Answer& answer, const std::string& text) {
  // Before min_tokens nothing ends the answer, so the stop strings do not see its text.
  answer.pending.text += answer.n_tokens < params().stopping.min_tokens ? text : answer.stop_matcher.Append(text);
}

void GenerateState::AppendRest(Answer& answer) {
  if (answer.stop_matcher.stopped()) return;
  AppendText(answer, answer.detokenizer.Finish());
  answer.pending.text += answer.stop_matcher.Finish();
}

void GenerateState::EmitPending(Answer& answer) {
  Chunk& pending = answer.pending;
  if (pending.text.empty() && pending.tokens.empty() && !pending.ended.has_value()) return;
  const size_t sample = pending.sample;
  Emit(std::exchange(pending, Chunk{.sample = sample}));
}

void GenerateState::OnFinish() {
  for (Answer& answer : answers_) {
    if (answer.ended) continue;
    AppendRest(answer);
    EmitPending(answer);
  }
}

ScoreState::ScoreState(Request request, std::shared_ptr<EventStream> stream, Clock::time_point submitted,
                       Started started, std::vector<TokenId> text, int64_t first_token, RotaryPlan plan,
                       BlockPool& pool)
    : RequestState(std::move(request), std::move(stream), submitted, std::move(started), std::move(plan)),
      top_logprobs_(std::get<ScoreParams>(request_.params).top_logprobs),
      next_token_(first_token) {
  Group& group = AddGroup();
  group.capacity = static_cast<int64_t>(text.size());
  group.rows.emplace_back(std::move(text), plan_, pool);
  group.score_from = first_token;
  group.top_scores = top_logprobs_;
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
  groups_.front().score_from = next_token_;  // should the text be read again, this much has been told
  Emit(std::move(chunk));
}

}  // namespace longhaul
