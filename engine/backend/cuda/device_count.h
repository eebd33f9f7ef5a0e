#pragma once

namespace longhaul {

// CUDA devices that this process can use; 0 without a driver, and in a build without the toolkit.
int CudaDeviceCount();

}  // namespace longhaul
