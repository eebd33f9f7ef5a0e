#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "engine/backend/backend.h"
#include "engine/backend/batch.h"

namespace longhaul {

// INVALID_ARGUMENT, saying what is wrong, where a batch would make a kernel read or write outside of what it owns:
// token ids, rows, block tables, plans, logit rows, groups. UNIMPLEMENTED for groups of several rows.
absl::Status CheckBatch(const Batch& batch, const CacheShape& shape, int64_t vocabulary_size);

}  // namespace longhaul
