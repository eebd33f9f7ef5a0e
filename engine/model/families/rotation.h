#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "engine/model/checkpoint.h"
#include "engine/model/families/keys.h"
#include "engine/position/rotary_plan.h"

namespace longhaul {

// Reads how a model rotates its queries and keys: context_length, the keys of "rope.", and the tables of factors.
// INVALID_ARGUMENT names file and key or tensor.
absl::StatusOr<ModelRotation> ReadRotation(const Checkpoint& checkpoint, const Keys& keys, int64_t head_dim);

}  // namespace longhaul
