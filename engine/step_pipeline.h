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

// The steps that were submitted to a runner and not collected: one, or two where the runner gains by it. Keeps each
// with what its maker knows of it, and measures how long it takes. The engine's thread.
class StepPipeline {
 public:
  // A step that is over.
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

  // Submits what NextStep returned; `begin`: when its scheduling began. Not OK: as if there had been no such step.
  // REQUIRES: has_room.
  absl::Status Submit(Step step, Clock::time_point begin);

  // Waits for the oldest step. The caller tells the scheduler: StepDone or StepFailed. REQUIRES: size() > 0.
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
