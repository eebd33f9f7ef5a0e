#pragma once

#include <cstdint>

#include "engine/scheduling/scheduler.h"
#include "engine/telemetry/telemetry.h"

namespace longhaul {

// Counts what the scheduler does and what a step holds. The engine thread's own; what it counts in is read by any.
class StepCounter {
 public:
  // `telemetry` is not owned and outlives it.
  explicit StepCounter(Telemetry& telemetry) : telemetry_(telemetry) {}

  // What the scheduler has counted since the last call.
  void CountScheduling(const Scheduler& scheduler);

  // The scheduler's last batch, which was computed, before its results are distributed. What a row reads again after
  // its prompt was read is prefill, but no prompt.
  void CountStep(const Scheduler& scheduler);

 private:
  Telemetry& telemetry_;
  SchedulerStats counted_;
  int64_t counted_evictions_ = 0;
};

}  // namespace longhaul
