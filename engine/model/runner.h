#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "engine/backend/backend.h"
#include "engine/backend/batch.h"
#include "engine/backend/batch_check.h"

namespace longhaul {

// What a runner says of itself; constant.
struct RunnerInfo {
  BackendInfo backend;
  std::string file_digest;  // of every byte of the model's files
  StepLimits limits;
  CacheGeometry geometry;
  // Whether the engine gains by submitting a step before it has collected the one before: its own work between two
  // steps then overlaps with that of the device.
  bool one_step_ahead = false;
};

// All that the engine knows of a model: it turns batches into tokens and scores. Steps run in the order in which they
// were submitted; at most two may be in flight (submitted and not collected). One thread at a time.
class Runner {
 public:
  virtual ~Runner() = default;

  virtual const RunnerInfo& info() const = 0;

  // Begins a step; its tokens may be those that the step submitted before it draws. Not OK: the step has not been
  // begun, and the runner is as it was. INVALID_ARGUMENT when CheckBatch refuses the batch, RESOURCE_EXHAUSTED when
  // there is no memory for it, UNAVAILABLE when the device is lost: then no step will ever be done again. May also
  // throw std::bad_alloc, after which the same holds.
  virtual absl::StatusOr<Ticket> Submit(Batch batch) = 0;

  // Waits for a step. Not OK: what it should have written to the cache is not there; UNAVAILABLE as above.
  // REQUIRES: each ticket once, in the order in which Submit gave them out.
  virtual absl::StatusOr<StepResult> Collect(Ticket ticket) = 0;
};

}  // namespace longhaul
