#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "engine/backend/batch.h"

namespace longhaul {

// What a batch is checked against.
struct BatchBounds {
  StepLimits limits{};
  CacheGeometry geometry{};
  int64_t head_dim = 0;
  int64_t vocabulary_size = 0;
};

// Checks all that a kernel relies on: token ids, rows, blocks, plans, logit rows, groups, policies. INVALID_ARGUMENT,
// saying what is wrong, where a batch exceeds the limits, is inconsistent, or would make a kernel read or write outside
// of its memory. `drew`: for each group of the step before, whether it drew a token. A pure function; any thread.
absl::Status CheckBatch(const Batch& batch, const BatchBounds& bounds, const std::vector<bool>& drew);

}  // namespace longhaul
