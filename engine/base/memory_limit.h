#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace longhaul {

// Bytes of memory that this process may take: the machine's, or what its control group and those above it or the limit
// of its address space (ulimit -v) allow where that is less. `root`: where /proc and /sys are found.
int64_t MemoryLimit(const std::filesystem::path& root = "/");

// Bytes of those that are free now: of the machine, what it can give without swapping; of a control group, what it and
// those above it have left, the cache of files counted as free; of the address space, what is left of it. Others may
// take them at any moment, but for the last.
int64_t AvailableMemory(const std::filesystem::path& root = "/");

// Bytes that are left of this process's address space; none where nothing limits it. It is at its end sooner than
// memory: threads reserve their stacks in it.
std::optional<int64_t> AddressSpaceLeft(const std::filesystem::path& root = "/");

}  // namespace longhaul
