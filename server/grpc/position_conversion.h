#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "engine/position/position_mode.h"
#include "engine/position/position_resolver.h"
#include "longhaul/v1/inference.pb.h"

// Position modes of the wire to the engine's and back.
namespace longhaul {

// A message without a kind is Auto. INVALID_ARGUMENT names what the engine's types cannot hold: an enum value that is
// not known, a number above 2^63 - 1; whether the others make sense is the resolver's business.
absl::StatusOr<PositionMode> FromWire(const v1::PositionMode& mode);

v1::PositionMode ToWire(const PositionMode& mode);
v1::ResolvedPlan ToWire(const ResolvedPosition& resolved);

// A count of tokens from the wire; INVALID_ARGUMENT names `field` when it is above 2^63 - 1.
absl::StatusOr<int64_t> TokensFromWire(const char* field, uint64_t tokens);

}  // namespace longhaul
