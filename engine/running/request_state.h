#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/backend/batch.h"
#include "engine/request/event_stream.h"
#include "engine/request/request.h"
#include "engine/running/request_registry.h"
#include "engine/scheduling/group.h"
#include "engine/telemetry/telemetry.h"

namespace longhaul {

// The prompts of the rows of a request, and their plans.
struct PromptRows {
  struct Row {
    std::vector<TokenId> tokens;
    std::shared_ptr<const RotaryPlan> plan;
    std::optional<int64_t> reach;  // tokens; none: no bound
  };
  std::vector<Row> rows;                  // with contexts: the one without a document, then the documents in order
  std::vector<std::string> document_ids;  // of the documents; empty for windows

  int64_t n_tokens() const {
    int64_t n = 0;
    for (const Row& row : rows) n += static_cast<int64_t>(row.tokens.size());
    return n;
  }
};

// What a RequestState is made of; complete, nothing is added later.
struct RequestParts {
  Request request;
  std::shared_ptr<EventStream> stream;
  std::shared_ptr<RequestRecord> record;  // enqueued
  Clock::time_point submitted;
  Started started;
  PromptRows rows;
};

// What the requests of an engine share. Members are not owned and outlive the requests.
struct RunningContext {
  BlockPool& pool;
  Telemetry& telemetry;  // counts what becomes of them
  // Streams whose readers are to be woken, later and together. Engine thread. A stream lives as long as its request.
  std::vector<EventStream*>& ready;
  std::chrono::milliseconds progress_interval;  // minimum time between two Progress of a request
};

// A request that waits or runs: its groups of rows, and what becomes of the results of their steps. Engine thread only,
// after its construction.
class RequestState {
 public:
  RequestState(RequestParts parts, const RunningContext& context);
  virtual ~RequestState() = default;
  RequestState(const RequestState&) = delete;
  RequestState& operator=(const RequestState&) = delete;

  // All groups so far, ended ones included. There is one at first; the others are added once that has prefilled the
  // prompt, so that they find it in the prefix cache: see MakeFurtherGroups.
  std::deque<Group>& groups() { return groups_; }
  const std::deque<Group>& groups() const { return groups_; }

  // Makes and returns the groups that are to be queued now beside the first one; often none.
  virtual std::vector<Group*> MakeFurtherGroups() { return {}; }

  const Request& request() const { return request_; }
  EventStream& stream() { return *stream_; }
  const EventStream& stream() const { return *stream_; }
  Clock::time_point submitted() const { return submitted_; }

  // The functions below may throw std::bad_alloc, unless they say otherwise; the request must then be ended by Fail.

  // Tells the client that its request was accepted; `cached_tokens` of its prompt are in the cache at this moment.
  void EmitStarted(int64_t cached_tokens);

  // To be called before a step that holds one of its groups. Throws nothing.
  void BeforeStep(Clock::time_point now);

  // Takes the result of a step for the group; `drew`: whether it draws in the step. Emits events. Returns whether the
  // group has ended; with the last group the request has finished.
  bool AfterStep(Group& group, bool drew, GroupResult& result, Clock::time_point now);

  // Prefetch the memory that AfterStep of the group will touch, which the step has driven out of the caches. To be
  // called for all groups of a step before AfterStep of the first, so that their cache misses overlap: first
  // PrefetchSelf for all, then PrefetchReached, which follows pointers in what PrefetchSelf fetched.
  void PrefetchSelf(const Group& group) const;
  void PrefetchReached(const Group& group, bool drew, const GroupResult& result) const;

  // Ends all groups and emits held-back text and Finished. `status` may be OK. Throws nothing: where there is no memory
  // for that, it does what Fail does.
  void Finish(FinishReason reason, absl::Status status, Clock::time_point now);
  // Ends it with ERROR and emits Finished alone, because the results of a step may be half processed. Throws nothing.
  void Fail(absl::Status status, Clock::time_point now);
  bool finished() const { return finished_; }

  // Steps that have not been collected and hold one of its groups: until there are none they, and so this, must live.
  int64_t steps_in_flight() const {
    int64_t n = 0;
    for (const Group& group : groups_) n = std::max(n, group.n_in_flight);
    return n;
  }
  std::unique_ptr<RequestState> next_leaving;  // of the list ActiveRequests::leaving_

  bool was_scheduled() const { return was_scheduled_; }

  // Writes its progress to its record in the registry. Throws nothing.
  void PublishProgress() const;

 protected:
  // The part of PrefetchReached for OnDrawn.
  virtual void PrefetchDrawn(const Group&, const SamplerResult&) const {}
  // A token was drawn for the group. Returns whether the group has ended.
  virtual bool OnDrawn(Group& group, const GroupResult& result, Clock::time_point now) = 0;
  virtual void OnScores(std::span<TokenScore> scores, Clock::time_point now) = 0;
  // Emits what is held back before Finished, and fills in more of Finished.
  virtual void OnFinish(Finished&) {}
  // Answers that the request makes.
  virtual int64_t n_samples() const { return 1; }

  void Emit(Event&& event);
  void EmitFinished(Finished&& finished, Clock::time_point now);
  // Counts a token of an answer, `gap` after the one before it; none for the first one.
  void CountToken(std::optional<Clock::duration> gap, Clock::time_point now);
  // Counts a choice of NBCE; `previous`: the row chosen before.
  void CountChoice(const MergeChoice& choice, int32_t previous);
  // Adds a group with the prompt in its rows.
  Group& AddGroup();
  const Started& started() const { return started_; }
  // Whether it reads documents.
  bool has_contexts() const { return n_rows_ > 1; }
  // INTERNAL: a step could not draw a token; the logits of `what` are no numbers.
  static absl::Status NothingToDraw();
  static absl::Status NotNumbers(const std::string& what);

  const size_t n_rows_;            // of each group
  int64_t completion_tokens_ = 0;  // of all answers

 private:
  // Hot fields first: touched once per token.
  bool has_started_ = false, was_scheduled_ = false, is_prompt_read_ = false, finished_ = false;
  const RunningContext& context_;
  RequestTelemetry& of_mode_;  // of the context's telemetry
  std::shared_ptr<EventStream> stream_;
  std::shared_ptr<RequestRecord> record_;  // null once it has finished
  Clock::time_point submitted_, first_step_{}, prompt_read_{}, first_token_{}, last_progress_;
  Started started_;

 protected:
  const std::vector<std::string> document_ids_;
  std::deque<Group> groups_;
  Request request_;
};

}  // namespace longhaul
