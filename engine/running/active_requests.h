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

// The requests that wait or run. Knows which request owns which group of the scheduler, ends requests (deadline,
// cancelled, stalled), and wakes readers. Engine thread.
class ActiveRequests {
 public:
  struct Options {
    std::chrono::milliseconds stall_timeout{0};  // end a request whose reader consumes nothing for this long; 0: never
    // Called when a request has its first step or ends without one; throws nothing.
    std::function<void()> on_left_queue;
    std::function<void()> on_ended;  // called when a request has ended; throws nothing
  };

  // None is owned; all outlive it.
  ActiveRequests(Scheduler& scheduler, Telemetry& telemetry, const TimeSource& time, Options options)
      : scheduler_(scheduler), telemetry_(telemetry), time_(time), options_(std::move(options)) {}

  // Takes over a request, emits Started, and queues its first group. Where that fails the request ends. Throws nothing.
  void Arrive(std::unique_ptr<RequestState> arrived);

  // Queues a further group of a request.
  void Queue(Group& group, RequestState& state);

  // The request of a group that was queued and has not ended; else null.
  RequestState* OwnerOf(Group* group) const;

  // To be called before a step is submitted that holds a group of the request. Throws nothing.
  void BeforeStep(RequestState& state);

  // Removes a group that has ended, and with the last one its request.
  void EndGroup(Group& group);

  // Ends a request with ERROR, without flushing held-back text. Returns false where it is null or has ended already.
  // Throws nothing.
  bool Fail(RequestState* state, const absl::Status& status);

  // Ends the requests that were cancelled, whose deadline has passed, or whose reader stalls.
  void DropEnded();
  // Ends requests that would have their first step now but cannot be prefilled before their deadline, by the rates so
  // far. Returns whether there were any.
  bool DropHopeless(const Step& step, const StepRates& rates);
  // Ends all requests with UNAVAILABLE and the status that `error` returns.
  void EndAll(const std::function<absl::Status()>& error);

  // Pauses those whose stream has no room for the events of one more step than hold them already.
  void PauseFullStreams();

  // When DropEnded has to be called next if nothing else happens; none: never.
  std::optional<Clock::time_point> NextDeadline() const;

  // Writes the progress of each request to its record in the registry. Returns how many have had a step.
  int64_t PublishProgress() const;

  // Wakes the readers of `ready`. All in one place, so that those who share a thread cost one wake-up, which is the
  // expensive part.
  void TellReaders();
  // The streams whose readers TellReaders wakes: see RunningContext.
  std::vector<EventStream*>& ready() { return ready_; }

  // Destroys the requests that have ended and that no step in flight holds.
  void LetGo();

 private:
  using StatePtr = std::unique_ptr<RequestState>;

  // Removes a request that has finished. Throws nothing.
  void End(RequestState& state);
  void Finish(RequestState& state, FinishReason reason, const std::function<absl::Status()>& error);
  static bool IsTooLate(const RequestState& state, Clock::time_point now);
  // When it will have stalled; none while its stream has room.
  std::optional<Clock::time_point> StallsAt(const RequestState& state) const;

  Scheduler& scheduler_;
  Telemetry& telemetry_;
  const TimeSource& time_;
  const Options options_;
  std::unordered_map<RequestState*, StatePtr> active_;
  std::unordered_map<Group*, RequestState*> owners_;  // of the scheduler's groups
  StatePtr leaving_;                                  // ended, but held by a step in flight; linked by next_leaving
  std::vector<EventStream*> ready_;                   // their requests are still active
};

}  // namespace longhaul
