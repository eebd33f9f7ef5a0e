#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/stop_condition.h"
#include "engine/cache/block_pool.h"
#include "engine/position/plan_interner.h"
#include "engine/position/position_resolver.h"
#include "engine/prepare/document_encoder.h"
#include "engine/prepare/prompt_encoder.h"
#include "engine/request/event_stream.h"
#include "engine/request/request.h"
#include "engine/running/request_state.h"
#include "engine/telemetry/telemetry.h"

namespace longhaul {

// Turns a request into what the engine runs: tokens, plan, rows. Everything that can refuse a request but the room that
// there is for it at the moment. Any thread, several at a time; what it makes is the engine thread's.
class RequestPreparer {
 public:
  struct Limits {
    int64_t max_request_tokens = 0;  // prompt and answer together; 0: no bound of its own
    int64_t max_rows = 1;            // of one request, all its answers together
    std::string engine_fingerprint;
  };

  // None is owned; all outlive it and what it makes. `context`: of what it makes; its telemetry also counts what was
  // too long.
  RequestPreparer(const PromptEncoder& encoder, const PositionResolver& positions, const RunningContext& context,
                  const TimeSource& time, Limits limits)
      : encoder_(encoder),
        documents_(encoder, positions.trained_length(), limits.max_rows),
        positions_(positions),
        context_(context),
        time_(time),
        limits_(std::move(limits)) {}

  // A request as it arrives.
  struct Arrival {
    Request request;
    std::shared_ptr<EventStream> stream;
    std::shared_ptr<RequestRecord> record;
    Clock::time_point submitted;
    std::function<double()> retry_after;  // see Overload
  };

  // REQUIRES: CheckRequest takes the request. INVALID_ARGUMENT names the field, CANCELLED and DEADLINE_EXCEEDED when
  // nobody waits any more, UNAVAILABLE after GiveUp, an Overload when its client may not queue so many tokens.
  absl::StatusOr<std::unique_ptr<RequestState>> Prepare(Arrival arrival) const;

  // The engine will run no more requests: what is being prepared ends soon.
  void GiveUp() { gives_up_ = true; }
  bool gives_up() const { return gives_up_; }

 private:
  // A number of tokens that something can hold at most, and why.
  struct Room {
    int64_t tokens;
    std::string limit;
    Rejection rejection;  // what one that exceeds it counts as
  };

  // What a request's rows read: one row, or with contexts the one without a document and the documents in order.
  struct Texts {
    std::vector<std::vector<TokenId>> rows;
    std::vector<std::string> document_ids;
    std::vector<TextRange> windows;
  };
  struct Planned {
    PromptRows rows;
    ResolvedPosition longest;  // of the longest row
    std::vector<TextRange> windows;
  };
  // How many tokens each row may come to hold beside its prompt; negative: the prompt alone is too long. `row`: the one
  // that is short of room; none: all together are.
  struct Growth {
    int64_t tokens;
    std::optional<size_t> row;
    Room room;
  };

  using StatePtr = std::unique_ptr<RequestState>;
  absl::StatusOr<StatePtr> PrepareGenerate(Arrival arrival) const;
  absl::StatusOr<StatePtr> PrepareScore(Arrival arrival) const;
  absl::StatusOr<StatePtr> PrepareContextScore(Arrival arrival) const;
  // Enters its `samples` answers into the queue, and gathers what its state is made of.
  absl::StatusOr<RequestParts> Enqueue(Arrival arrival, Started started, PromptRows rows, int64_t samples) const;

  // The ids of its texts, which it no longer holds then.
  absl::StatusOr<Texts> TakeTexts(Request& request, const EventStream& stream) const;
  absl::StatusOr<std::vector<TokenId>> EncodePrompt(const Prompt& prompt, const StopCondition& stopped) const;
  absl::StatusOr<std::vector<TokenId>> EncodeAnswer(const Prompt& answer, const StopCondition& stopped) const;
  absl::Status EncodeContexts(const Contexts& contexts, const Prompt& question, const StopCondition& stopped,
                              Texts& texts) const;
  absl::Status CheckRows(int64_t documents, int64_t samples) const;
  absl::StatusOr<Planned> Plan(Texts texts, const PositionMode& mode, int64_t new_tokens) const;
  Growth MaxGrowth(const Planned& planned) const;
  Started Describe(const Planned& planned) const;
  // The first token whose score is wanted, of `n`; those before `least` have no context.
  absl::StatusOr<int64_t> FirstScored(const ScoreParams& params, int64_t n, int64_t least) const;

  // Why it need not be prepared, if so.
  absl::Status CheckWanted(const Request& request, const EventStream& stream) const;
  // Counts it, and returns `status`.
  absl::Status TooLong(const Room& room, absl::Status status) const;
  // The same, of a request whose rows cannot grow by `new_tokens`; `field`: what asks for so many.
  absl::Status TooLongToAnswer(const Planned& planned, const Growth& growth, const char* field,
                               int64_t new_tokens) const;
  // Before the mode is resolved: a bound for every one.
  Room MaxTokensInAnyMode() const;
  int64_t cache_tokens() const { return context_.pool.geometry().tokens(); }

  const PromptEncoder& encoder_;
  const DocumentEncoder documents_;
  const PositionResolver& positions_;
  const RunningContext& context_;
  const TimeSource& time_;
  const Limits limits_;
  mutable PlanInterner plans_;
  std::atomic<bool> gives_up_{false};
};

}  // namespace longhaul
