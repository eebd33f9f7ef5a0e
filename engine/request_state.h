#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
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

// A request that the engine runs: its groups of rows, and what becomes of the results of their steps. Engine thread
// only, after its construction.
class RequestState {
 public:
  RequestState(Request request, std::shared_ptr<EventStream> stream, Clock::time_point submitted, Started started,
               RotaryPlan plan);
  virtual ~RequestState() = default;
  RequestState(const RequestState&) = delete;
  RequestState& operator=(const RequestState&) = delete;

  // All groups that it has had so far, the ended ones too. There is one at first; it gets the others once that has read
  // the prompt, so that they find it in the cache: see MakeFurtherGroups.
  std::deque<Group>& groups() { return groups_; }
  const std::deque<Group>& groups() const { return groups_; }

  // The groups that are to be queued beside the first one now; none when nothing is due.
  virtual std::vector<Group*> MakeFurtherGroups() { return {}; }

  const Request& request() const { return request_; }
  EventStream& stream() { return *stream_; }
  const EventStream& stream() const { return *stream_; }
  Clock::time_point submitted() const { return submitted_; }

  // At least so long between two Progress. Before the first step.
  void set_progress_interval(std::chrono::milliseconds interval) { progress_interval_ = interval; }

  // Counts in `telemetry` what becomes of it; not owned. Before EmitStarted.
  void set_telemetry(Telemetry& telemetry);

  // Tells the client that its request was accepted; `cached_tokens` of its prompt are in the cache at this moment.
  void EmitStarted(int64_t cached_tokens);

  // Before a step that the group takes part in: brings its sampler up to date.
  void BeforeStep(Group& group, Clock::time_point now);

  // After a step: `sampled` is null when the group was not due, `scores` holds its scored positions in order. Emits
  // events; returns whether the group has ended. With the last group the request has finished.
  bool AfterStep(Group& group, const SamplerResult* sampled, std::span<TokenScore> scores, Clock::time_point now);

  // Ends all groups and emits Finished. `status` may be OK.
  void Finish(FinishReason reason, absl::Status status, Clock::time_point now);
  bool finished() const { return finished_; }

  bool was_scheduled() const { return was_scheduled_; }

  // Takes over its entry in the registry, until Finish, and counts its tokens there as waiting. An Overload when its
  // client may not queue so many: then it is not to run. Once, before the first step.
  absl::Status Track(std::shared_ptr<RequestRecord> record, double retry_after);
  // Writes how far it is into that entry.
  void PublishProgress() const;

 protected:
  virtual void PrepareSampler(Group&) {}
  // Each returns whether the group has ended.
  virtual bool OnSampled(Group& group, const SamplerResult& sampled, Clock::time_point now) = 0;
  virtual void OnScores(std::span<TokenScore> scores, Clock::time_point now) = 0;
  // The last words before Finished.
  virtual void OnFinish() {}
  // Answers that the request makes.
  virtual int64_t n_samples() const { return 1; }

  void Emit(Event event) { stream_->Push(std::move(event)); }
  // A token joins an answer, `gap` after the one before it. The first token of an answer has none.
  void CountToken(std::optional<Clock::duration> gap, Clock::time_point now);
  Group& AddGroup();

  Request request_;
  RotaryPlan plan_;  // of all rows
  std::deque<Group> groups_;
  int64_t completion_tokens_ = 0;  // of all answers

 private:
  std::shared_ptr<EventStream> stream_;
  std::shared_ptr<RequestRecord> record_;  // null once it has finished
  Started started_;
  std::chrono::milliseconds progress_interval_{500};
  RequestTelemetry* telemetry_ = nullptr;
  Clock::time_point submitted_, first_step_{}, prompt_read_{}, first_token_{}, last_progress_;
  bool was_scheduled_ = false, is_prompt_read_ = false, finished_ = false;
};

// Decodes its answers token by token.
class GenerateState : public RequestState {
 public:
  // `tokenizer` is not owned and outlives it. REQUIRES: the request holds GenerateParams.
  GenerateState(Request request, std::shared_ptr<EventStream> stream, Clock::time_point submitted, Started started,
                std::vector<TokenId> prompt, RotaryPlan plan, const Tokenizer& tokenizer, BlockPool& pool);

  std::vector<Group*> MakeFurtherGroups() override;

 private:
  // What is made of the tokens of the group of the same place.
  struct Answer {
    Answer(const Tokenizer& tokenizer, const std::vector<std::string>& stops)
        : detokenizer(tokenizer), stop_matcher(stops) {}

    SamplerInput sampler;
    Detokenizer detokenizer;
    StopMatcher stop_matcher;
    Chunk pending;
    int64_t n_tokens = 0;
    Clock::time_point last_token{};
    bool ended = false;
  };

  void PrepareSampler(Group& group) override;
  bool OnSampled(Group& group, const SamplerResult& sampled, Clock::time_point now) override;
  void OnScores(std::span<TokenScore>, Clock::time_point) override {}
  void OnFinish() override;
  int64_t n_samples() const override { return params().samples; }

  const GenerateParams& params() const { return std::get<GenerateParams>(request_.params); }
  void AddAnswer(std::vector<TokenId> prompt);
  // With its last answer the request finishes.
  void End(Answer& answer, FinishReason reason, Clock::time_point now);
  // Adds text to the pending chunk, through the stop strings once min_tokens have been made.
  void AppendText(Answer& answer, const std::string& text);
  // Adds what was held back in case that more would come.
  void AppendRest(Answer& answer);
  void EmitPending(Answer& answer);

  const Tokenizer& tokenizer_;
  BlockPool& pool_;
  const int64_t prompt_tokens_, max_tokens_;
  SamplerInput sampler_;  // as each answer begins
  bool counts_tokens_;    // a penalty is on
  std::deque<Answer> answers_;
  int64_t n_ended_ = 0;
  FinishReason first_reason_ = FinishReason::kError;  // of answer 0
};

// Scores a given text.
class ScoreState : public RequestState {
 public:
  // REQUIRES: the request holds ScoreParams; 1 <= first_token < text.size().
  ScoreState(Request request, std::shared_ptr<EventStream> stream, Clock::time_point submitted, Started started,
             std::vector<TokenId> text, int64_t first_token, RotaryPlan plan, BlockPool& pool);

 private:
  bool OnSampled(Group&, const SamplerResult&, Clock::time_point) override { return false; }
  void OnScores(std::span<TokenScore> scores, Clock::time_point now) override;

  const int top_logprobs_;
  int64_t next_token_;  // the first that has not been reported
};

}  // namespace longhaul
