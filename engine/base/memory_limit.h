#pragma once

#include <cstdint>
#include <filesystem>

namespace longhaul {

// Bytes of memory that this process may take: the machine's, or what its control group and those above it allow where
// that is less, as in a container. `root`: where /proc and /sys are found.
int64_t MemoryLimit(const std::filesystem::path& root = "/");

// Bytes of those that are free now: of the machine, what it can give without swapping; of a control group, what it and
// those above it have left, the cache of files counted as free. Others may take them at any moment.
int64_t AvailableMemory(const std::filesystem::path& root = "/");

}  // namespace longhaul
