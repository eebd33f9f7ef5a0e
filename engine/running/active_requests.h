#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "engine/base/time_source.h"
#include "engine/request/request.h"
#include "engine/running/request_state.h"
#include "engine/scheduling/scheduler.h"
#include "engine/telemetry/step_rates.h"
#include "engine/telemetry/telemetry.h"

namespace longhaul {

// The requests that wait or run: who owns which of the scheduler's groups, whose time is over, who is to be told. The
// engine's thread.
class ActiveRequests {
 public:
  struct Options {
    std::chrono::milliseconds stall_timeout{0};  // a reader who takes nothing for so long is given up; 0: never
    std::function<void()> on_left_queue;         // a request has its first step, or ends without one; throws nothing
    std::function<void()> on_ended;              // a request is over; throws nothing
  };

  // None is owned; all outlive it.
  ActiveRequests(Scheduler& scheduler, Telemetry& telemetry, const TimeSource& time, Options options)
      : scheduler_(scheduler), telemetry_(telemetry), time_(time), options_(std::move(options)) {}

  // Takes a request in, tells its client, and queues its first group; where that fails the request ends. Throws
  // nothing.
  void Arrive(std::unique_ptr<RequestState> arrived);

  // Queues a further group of a request.
  void Queue(Group& group, RequestState& state);

  // The request of a group that was queued and has not ended; else null.
  RequestState* OwnerOf(Group* group) const;

  // A step is about to be submitted that the request takes part in. Throws nothing.
  void BeforeStep(RequestState& state);

  // The group has made its answer: takes it out, and with the last one its request.
  void EndGroup(Group& group);

  // Ends a request with ERROR and no last words, if it has not ended; whether it had not. Null: false. Throws nothing.
  bool Fail(RequestState* state, const absl::Status& status);

  // Ends those that were cancelled, are too late, or whose reader stalls.
  void DropEnded();
  // Ends what would have its first step now and cannot be read before its deadline, by the rates so far; whether there
  // was any.
  bool DropHopeless(const Step& step, const StepRates& rates);
  // Ends all with UNAVAILABLE and what `error` says.
  void EndAll(const std::function<absl::Status()>& error);

  // Pauses those whose stream has no room for the events of so many steps.
  void PauseFullStreams(size_t steps);

  // When DropEnded is to be called next, if nothing happens until then.
  std::optional<Clock::time_point> NextDeadline() const;

  // Writes how far each is into its entry of the registry; how many have had a step.
  int64_t PublishProgress() const;

  // Tells the readers of `ready` one after the other, so that one wake-up serves all: it costs more than all the rest.
  void TellReaders();
  // Where the streams are added whose readers are to be told: see RunningContext.
  std::vector<EventStream*>& ready() { return ready_; }

  // Destroys those that have ended and that no step in flight holds any more.
  void LetGo();

 private:
  using StatePtr = std::unique_ptr<RequestState>;

  // Takes a request that has finished out of everything. Throws nothing.
  void End(RequestState& state);
  void Finish(RequestState& state, FinishReason reason, const std::function<absl::Status()>& error);
  static bool IsTooLate(const RequestState& state, Clock::time_point now);
  // When its reader has taken nothing for too long; none while there is room for more.
  std::optional<Clock::time_point> StallsAt(const RequestState& state) const;

  Scheduler& scheduler_;
  Telemetry& telemetry_;
  const TimeSource& time_;
  const Options options_;
  std::unordered_map<RequestState*, StatePtr> active_;
  std::unordered_map<Group*, RequestState*> owners_;  // of the scheduler's groups
  StatePtr leaving_;                                  // ended while a step in flight holds their blocks, chained
  std::vector<EventStream*> ready_;                   // their requests are still active
};

}  // namespace longhaul
