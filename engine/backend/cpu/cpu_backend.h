#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "engine/backend/backend.h"

namespace longhaul {

struct CpuBackendOptions {
  int threads = 1;                               // 1 to 1024
  ComputeType compute_type = ComputeType::kF32;  // not kAuto
  CacheType cache_type = CacheType::kF32;        // not kAuto
};

// Creates the backend that computes on the CPU, with the instruction set that is active now (ActiveInstructionSet).
// INVALID_ARGUMENT names an option that is not allowed.
absl::StatusOr<std::unique_ptr<Backend>> CreateCpuBackend(const CpuBackendOptions& options);

}  // namespace longhaul
