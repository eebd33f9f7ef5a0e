#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace longhaul {

// Bytes of memory that this process may use: those of the machine, or what its control group, the groups above it or
// its address space limit (ulimit -v) allow where that is less. `root`: where /proc and /sys are found.
int64_t MemoryLimit(const std::filesystem::path& root = "/");

// Bytes of MemoryLimit that are free now: what the machine can give without swapping, what the control groups have left
// (their file cache counted as free), and what is left of the address space; the least of these. Other processes may
// take them at any moment.
int64_t AvailableMemory(const std::filesystem::path& root = "/");

// Bytes left of this process's address space; none where it is not limited. It ends before memory does, because threads
// reserve their stacks in it.
std::optional<int64_t> AddressSpaceLeft(const std::filesystem::path& root = "/");

}  // namespace longhaul
