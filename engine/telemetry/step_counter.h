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

  // A step that was run.
  void CountStep(const StepTally& tally);

 private:
  Telemetry& telemetry_;
  SchedulerStats counted_;
  int64_t counted_evictions_ = 0;
};

}  // namespace longhaul
