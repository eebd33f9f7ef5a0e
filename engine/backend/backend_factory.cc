#include "engine/backend/backend_factory.h"

#include <algorithm>
#include <thread>

#include "engine/backend/cpu/cpu_backend.h"
#include "engine/base/instruction_set.h"

namespace longhaul {

absl::StatusOr<std::unique_ptr<Backend>> CreateBackend(const BackendOptions& options) {
  CpuBackendOptions cpu;
  cpu.threads =
      options.threads != 0 ? options.threads : std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  cpu.compute_type = ResolveComputeType(options.compute_type, options.layers_quantized, ActiveHasBf16());
  cpu.cache_type = ResolveCacheType(options.cache_type, cpu.compute_type);
  return CreateCpuBackend(cpu);
}

}  // namespace longhaul
