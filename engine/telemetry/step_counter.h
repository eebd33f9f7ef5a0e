#pragma once

#include <cstdint>

#include "engine/scheduling/scheduler.h"
#include "engine/telemetry/telemetry.h"

namespace longhaul {

// Adds what the scheduler does and what steps hold to Telemetry. Engine thread.
class StepCounter {
 public:
  // `telemetry` is not owned and outlives it.
  explicit StepCounter(Telemetry& telemetry) : telemetry_(telemetry) {}

  // Adds what the scheduler has counted since the last call.
  void CountScheduling(const Scheduler& scheduler);

  // Adds a step that was collected.
  void CountStep(const StepTally& tally);

 private:
  Telemetry& telemetry_;
  SchedulerStats counted_;
  int64_t counted_evictions_ = 0;
};

}  // namespace longhaul
