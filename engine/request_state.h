#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/backend/batch.h"
#include "engine/decoding/stop_matcher.h"
#include "engine/event_stream.h"
#include "engine/request.h"
#include "engine/request_registry.h"
#include "engine/scheduling/group.h"
#include "engine/telemetry.h"
#include "engine/text/detokenizer.h"

namespace longhaul {

// A request that the engine runs: its group of rows, and what becomes of the results of its steps. Engine thread only,
// after its construction.
class RequestState {
 public:
  RequestState(Request request, std::shared_ptr<EventStream> stream, Clock::time_point submitted, Started started,
               RotaryPlan plan);
  virtual ~RequestState() = default;
  RequestState(const RequestState&) = delete;
  RequestState& operator=(const RequestState&) = delete;

  Group& group() { return group_; }
  const Request& request() const { return request_; }
  EventStream& stream() { return *stream_; }
  const EventStream& stream() const { return *stream_; }
  Clock::time_point submitted() const { return submitted_; }

  // At least so long between two Progress. Before the first step.
  void set_progress_interval(std::chrono::milliseconds interval) { progress_interval_ = interval; }

  // Counts in `telemetry` what becomes of it; not owned. Before EmitStarted.
  void set_telemetry(Telemetry& telemetry);

  // Adds its stream to `ready`, not owned, where a reader is to be told, instead of telling it. Before EmitStarted.
  void set_ready_streams(std::vector<std::shared_ptr<EventStream>>& ready) { ready_ = &ready; }

  // Tells the client that its request was accepted; `cached_tokens` of its prompt are in the cache at this moment.
  void EmitStarted(int64_t cached_tokens);

  // Before a step that the request takes part in: brings its sampler up to date.
  void BeforeStep(Clock::time_point now);

  // After a step: `sampled` is null when the group was not due, `scores` holds its scored positions in order. Emits
  // events; returns whether the request has ended (then Finish was called).
  bool AfterStep(const SamplerResult* sampled, std::span<TokenScore> scores, Clock::time_point now);

  // Emits Finished. `status` may be OK.
  void Finish(FinishReason reason, absl::Status status, Clock::time_point now);

  bool was_scheduled() const { return was_scheduled_; }
  // Before: its steps read the prompt.
  bool is_prompt_read() const { return is_prompt_read_; }

  // Takes over its entry in the registry, until Finish, and counts its tokens there as waiting. An Overload when its
  // client may not queue so many: then it is not to run. Once, before the first step.
  absl::Status Track(std::shared_ptr<RequestRecord> record, double retry_after);
  // Writes how far it is into that entry.
  void PublishProgress() const;

 protected:
  virtual void PrepareSampler() {}
  virtual void OnSampled(const SamplerResult& sampled, Clock::time_point now) = 0;
  virtual void OnScores(std::span<TokenScore> scores, Clock::time_point now) = 0;
  // The prompt has been read to its end and no token is wanted.
  virtual void OnNothingLeft(Clock::time_point now) = 0;
  // The last words before Finished.
  virtual void OnFinish() {}

  void Emit(Event event);
  void CountToken(Clock::time_point now);

  Request request_;
  RotaryPlan plan_;  // of all rows
  Group group_;
  int64_t completion_tokens_ = 0;

 private:
  std::shared_ptr<EventStream> stream_;
  std::shared_ptr<RequestRecord> record_;  // null once it has finished
  Started started_;
  std::chrono::milliseconds progress_interval_{500};
  RequestTelemetry* telemetry_ = nullptr;
  std::vector<std::shared_ptr<EventStream>>* ready_ = nullptr;
  Clock::time_point submitted_, first_step_{}, prompt_read_{}, first_token_{}, last_token_{}, last_progress_;
  bool was_scheduled_ = false, is_prompt_read_ = false, finished_ = false;
};

// Decodes an answer token by token.
class GenerateState : public RequestState {
 public:
  // `tokenizer` is not owned and outlives it. REQUIRES: the request holds GenerateParams.
  GenerateState(Request request, std::shared_ptr<EventStream> stream, Clock::time_point submitted, Started started,
                std::vector<TokenId> prompt, RotaryPlan plan, const Tokenizer& tokenizer, BlockPool& pool);

 private:
  void PrepareSampler() override;
  void OnSampled(const SamplerResult& sampled, Clock::time_point now) override;
  void OnScores(std::span<TokenScore>, Clock::time_point) override {}
  void OnNothingLeft(Clock::time_point now) override { Finish(FinishReason::kLength, absl::OkStatus(), now); }
  void OnFinish() override;

  const GenerateParams& params() const { return std::get<GenerateParams>(request_.params); }
  // Adds text to the pending chunk, through the stop strings once min_tokens have been made.
  void AppendText(const std::string& text);
  void EmitPending();

  const Tokenizer& tokenizer_;
  const int64_t max_tokens_;
  SamplerInput sampler_;
  bool counts_tokens_;  // a penalty is on
  Detokenizer detokenizer_;
  StopMatcher stop_matcher_;
  Chunk pending_;
};

// Scores a given text.
class ScoreState : public RequestState {
 public:
  // REQUIRES: the request holds ScoreParams; 1 <= first_token < text.size().
  ScoreState(Request request, std::shared_ptr<EventStream> stream, Clock::time_point submitted, Started started,
             std::vector<TokenId> text, int64_t first_token, RotaryPlan plan, BlockPool& pool);

 private:
  void OnSampled(const SamplerResult&, Clock::time_point) override {}
  void OnScores(std::span<TokenScore> scores, Clock::time_point now) override;
  void OnNothingLeft(Clock::time_point now) override { Finish(FinishReason::kLength, absl::OkStatus(), now); }

  const int top_logprobs_;
  int64_t next_token_;  // the first that has not been reported
};

}  // namespace longhaul
