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

// What the rows of a request read, and how.
struct PromptRows {
  struct Row {
    std::vector<TokenId> tokens;
    std::shared_ptr<const RotaryPlan> plan;
    std::optional<int64_t> reach;  // tokens that the plan holds; none = no bound
  };
  std::vector<Row> rows;                  // with contexts: the one without a document, then the documents in order
  std::vector<std::string> document_ids;  // of these; empty for windows

  int64_t n_tokens() const {
    int64_t n = 0;
    for (const Row& row : rows) n += static_cast<int64_t>(row.tokens.size());
    return n;
  }
};

// What a request's state is made of.
struct RequestParts {
  Request request;
  std::shared_ptr<EventStream> stream;
  std::shared_ptr<RequestRecord> record;  // enqueued
  Clock::time_point submitted;
  Started started;
  PromptRows rows;
};

// What the requests of an engine share. Not owned; outlives them.
struct RunningContext {
  BlockPool& pool;
  Telemetry& telemetry;  // counts what becomes of them
  // Of the engine's thread: where a reader is to be told, the stream is added instead of telling it at once. The
  // streams live as long as their requests.
  std::vector<EventStream*>& ready;
  std::chrono::milliseconds progress_interval;  // at least so long between two Progress of a request
};

// A request that the engine runs: its groups of rows, and what becomes of the results of their steps. Engine thread
// only, after its construction.
class RequestState {
 public:
  RequestState(RequestParts parts, const RunningContext& context);
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

  // What follows may throw std::bad_alloc, unless it says otherwise; then the request is to be ended by Fail.

  // Tells the client that its request was accepted; `cached_tokens` of its prompt are in the cache at this moment.
  void EmitStarted(int64_t cached_tokens);

  // Before a step that one of its groups takes part in. Throws nothing.
  void BeforeStep(Clock::time_point now);

  // After a step that the group took part in, and in which it drew or did not. Emits events; returns whether the group
  // has ended. With the last group the request has finished.
  bool AfterStep(Group& group, bool drew, GroupResult& result, Clock::time_point now);

  // Ask for the memory that AfterStep of the group will touch: a step has driven it out of the caches. For all groups
  // of a step before AfterStep of the first, so that they wait for it side by side: first PrefetchSelf for all, then
  // PrefetchReached, which reads some of that to find the rest.
  void PrefetchSelf(const Group& group) const;
  void PrefetchReached(const Group& group, bool drew, const GroupResult& result) const;

  // Ends all groups and emits Finished. `status` may be OK. Throws nothing: where there is no memory for the last words
  // the request ends as by Fail.
  void Finish(FinishReason reason, absl::Status status, Clock::time_point now);
  // Ends it with ERROR and no last words, because what was done of a step may be half done. Throws nothing.
  void Fail(absl::Status status, Clock::time_point now);
  bool finished() const { return finished_; }

  // Whether a step that has not been collected holds one of its groups: until then they, and so this, must live.
  bool in_flight() const {
    return std::ranges::any_of(groups_, [](const Group& group) { return group.n_in_flight > 0; });
  }
  std::unique_ptr<RequestState> next_leaving;  // for a list of those that wait for that

  bool was_scheduled() const { return was_scheduled_; }

  // Writes how far it is into its entry of the registry. Throws nothing.
  void PublishProgress() const;

 protected:
  // What PrefetchReached asks for on behalf of OnDrawn.
  virtual void PrefetchDrawn(const Group&, const SamplerResult&) const {}
  // Returns whether the group has ended.
  virtual bool OnDrawn(Group& group, const GroupResult& result, Clock::time_point now) = 0;
  virtual void OnScores(std::span<TokenScore> scores, Clock::time_point now) = 0;
  // The last words before Finished, and what it adds to that.
  virtual void OnFinish(Finished&) {}
  // Answers that the request makes.
  virtual int64_t n_samples() const { return 1; }

  void Emit(Event&& event);
  void EmitFinished(Finished&& finished, Clock::time_point now);
  // A token joins an answer, `gap` after the one before it. The first token of an answer has none.
  void CountToken(std::optional<Clock::duration> gap, Clock::time_point now);
  // Counts a step of NBCE; `previous`: the row that was chosen before.
  void CountChoice(const MergeChoice& choice, int32_t previous);
  // A group that reads the prompt in its rows.
  Group& AddGroup();
  const Started& started() const { return started_; }
  // Whether it reads documents.
  bool has_contexts() const { return n_rows_ > 1; }
  // INTERNAL, of a step that could not draw.
  static absl::Status NothingToDraw();
  static absl::Status NotNumbers(const std::string& what);

  const size_t n_rows_;            // of each group
  int64_t completion_tokens_ = 0;  // of all answers

 private:
  // What each token touches comes first and lies together.
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
