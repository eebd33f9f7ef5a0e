#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "engine/position/position_resolver.h"

namespace longhaul {

// The plan of one concrete mode for a text of `length` tokens: checks the mode's parameters, fits those that are 0,
// fills in those that are not given. `plain` is the model's own plan, whose frequencies the mode divides. `refit` tells
// of fits alone: the caller knows whether the mode was Auto. REQUIRES: not Auto; mode.trained_length > 0; length > 0.
// Statuses: those of PositionResolver::Resolve.
absl::StatusOr<ResolvedPosition> MakePlan(const ModelRotation& rotation, const RotaryPlan& plain, PositionMode mode,
                                          int64_t length);

}  // namespace longhaul
