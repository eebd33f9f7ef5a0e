#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "engine/backend/backend.h"

namespace longhaul {

struct BackendOptions {
  ComputeType compute_type = ComputeType::kAuto;
  CacheType cache_type = CacheType::kAuto;
  int threads = 0;                // 0: one per core
  bool layers_quantized = false;  // what kAuto of the compute type looks at
};

// The backend of this machine, its types, threads and instruction set resolved: see Backend::info. INVALID_ARGUMENT
// names what is not allowed.
absl::StatusOr<std::unique_ptr<Backend>> CreateBackend(const BackendOptions& options);

}  // namespace longhaul
