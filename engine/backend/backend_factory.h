#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "engine/backend/backend.h"

namespace longhaul {

// What CreateBackend chooses from.
struct BackendOptions {
  ComputeType compute_type = ComputeType::kAuto;
  CacheType cache_type = CacheType::kAuto;
  int threads = 0;                // 0: one per core
  bool layers_quantized = false;  // of the model; decides what the compute type kAuto becomes
};

// Creates the backend of this machine and resolves types, threads and instruction set: see Backend::info.
// INVALID_ARGUMENT names what is not allowed.
absl::StatusOr<std::unique_ptr<Backend>> CreateBackend(const BackendOptions& options);

}  // namespace longhaul
