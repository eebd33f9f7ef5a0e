#pragma once

#include <cstdint>
#include <filesystem>

namespace longhaul {

// Bytes of memory that this process may take: the machine's, or what its control group and those above it allow where
// that is less, as in a container. `root`: where /proc and /sys are found.
int64_t MemoryLimit(const std::filesystem::path& root = "/");

}  // namespace longhaul
