#include "engine/backend/cuda/device_count.h"

#include <cuda_runtime_api.h>

namespace longhaul {

int CudaDeviceCount() {
  int count = 0;
  // Without a driver the call fails and leaves the count as it was.
  return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

}  // namespace longhaul
