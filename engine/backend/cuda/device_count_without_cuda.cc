#include "engine/backend/cuda/device_count.h"

namespace longhaul {

int CudaDeviceCount() {
  return 0;
}

}  // namespace longhaul
