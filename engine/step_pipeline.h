#pragma once

#include <cstdint>
#include <deque>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/time_source.h"
#include "engine/model/runner.h"
#include "engine/request/request.h"
#include "engine/scheduling/scheduler.h"

namespace longhaul {

// The steps in flight: submitted to a runner and not collected; one, or two where the runner gains by it. Keeps the
// scheduler's view of each, and measures how long it takes. Engine thread.
class StepPipeline {
 public:
  // A step that has been collected.
  struct Done {
    Step step;
    absl::StatusOr<StepResult> result;
    double seconds = 0;  // from its submission, or the end of the step before where that was later, until its own end
    Clock::time_point begin{}, submitted{}, end{};  // begin: of its scheduling
  };

  // None is owned; all outlive it.
  StepPipeline(Runner& runner, Scheduler& scheduler, const TimeSource& time)
      : runner_(runner), scheduler_(scheduler), time_(time) {}

  // Steps in flight, and whether there may be one more.
  size_t size() const { return in_flight_.size(); }
  bool has_room() const { return in_flight_.size() < (runner_.info().one_step_ahead ? 2 : 1); }

  // Submits a step that Scheduler::NextStep returned; `begin`: when its scheduling began. Not OK: nothing was
  // submitted. REQUIRES: has_room().
  absl::Status Submit(Step step, Clock::time_point begin);

  // Waits for the oldest step. The caller then tells the scheduler: StepDone or StepFailed. REQUIRES: size() > 0.
  Done Collect();

 private:
  struct InFlight {
    Step step;
    Ticket ticket{};
    Clock::time_point begin{}, submitted{};
  };

  Runner& runner_;
  Scheduler& scheduler_;
  const TimeSource& time_;
  std::deque<InFlight> in_flight_;  // the oldest first
  Clock::time_point last_end_{};
};

}  // namespace longhaul
