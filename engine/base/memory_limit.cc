#include "engine/base/memory_limit.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

namespace longhaul {
namespace {

// None where there is no file, or where it says "max".
std::optional<int64_t> ReadBytes(const std::filesystem::path& file) {
  std::ifstream stream(file);
  int64_t bytes = 0;
  if (stream >> bytes && bytes > 0) return bytes;
  return std::nullopt;
}

// The process's path in the control group hierarchy: version 2 has a line "0::/PATH", version 1 a line
// "N:memory:/PATH".
std::filesystem::path GroupPlace(const std::filesystem::path& root, std::string_view controller) {
  std::ifstream stream(root / "proc/self/cgroup");
  for (std::string line; std::getline(stream, line);) {
    const size_t first = line.find(':');
    const size_t second = line.find(':', std::min(first, line.size() - 1) + 1);
    if (second == std::string::npos || line.substr(first + 1, second - first - 1) != controller) continue;
    return std::filesystem::path(line.substr(second + 1)).relative_path();
  }
  return {};
}

// The number that stands behind `name` in a file of such lines; 0 where there is none.
int64_t ReadEntry(const std::filesystem::path& file, std::string_view name) {
  std::ifstream stream(file);
  for (std::string line; std::getline(stream, line);) {
    if (line.starts_with(name)) return std::strtoll(line.c_str() + name.size(), nullptr, 10);
  }
  return 0;
}

// The files in which a version of control groups tells limit, use and reclaimable bytes of a group.
struct GroupFiles {
  const char *mount, *controller;
  const char *limit, *used, *reclaimable;
};
constexpr GroupFiles kVersions[] = {
    {"sys/fs/cgroup", "", "memory.max", "memory.current", "inactive_file "},
    {"sys/fs/cgroup/memory", "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file "}};

// The minimum of `bytes` and what the process's group and those above it allow, or (`left`) have left.
int64_t MinOfGroups(const std::filesystem::path& root, bool left, int64_t bytes) {
  for (const GroupFiles& files : kVersions) {
    for (std::filesystem::path place = GroupPlace(root, files.controller);; place = place.parent_path()) {
      const std::filesystem::path group = root / files.mount / place;
      if (std::optional<int64_t> limit = ReadBytes(group / files.limit); limit.has_value()) {
        if (left) {
          *limit -= ReadBytes(group / files.used).value_or(0) - ReadEntry(group / "memory.stat", files.reclaimable);
        }
        bytes = std::min(bytes, std::max<int64_t>(*limit, 0));
      }
      if (place.empty()) break;
    }
  }
  return bytes;
}

std::optional<int64_t> AddressSpaceLimit(const std::filesystem::path& root) {
  const int64_t bytes = ReadEntry(root / "proc/self/limits", "Max address space ");  // 0 where it says "unlimited"
  return bytes > 0 ? std::optional(bytes) : std::nullopt;
}

int64_t MachineMemory() {
  return static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<int64_t>(sysconf(_SC_PAGE_SIZE));
}

}  // namespace

int64_t MemoryLimit(const std::filesystem::path& root) {
  return std::min(MinOfGroups(root, /*left=*/false, MachineMemory()),
                  AddressSpaceLimit(root).value_or(std::numeric_limits<int64_t>::max()));
}

int64_t AvailableMemory(const std::filesystem::path& root) {
  const int64_t kilobytes = ReadEntry(root / "proc/meminfo", "MemAvailable:");
  return std::min(MinOfGroups(root, /*left=*/true, kilobytes > 0 ? kilobytes * 1024 : MachineMemory()),
                  AddressSpaceLeft(root).value_or(std::numeric_limits<int64_t>::max()));
}

std::optional<int64_t> AddressSpaceLeft(const std::filesystem::path& root) {
  const std::optional<int64_t> limit = AddressSpaceLimit(root);
  if (!limit.has_value()) return std::nullopt;
  return std::max<int64_t>(*limit - ReadEntry(root / "proc/self/status", "VmSize:") * 1024, 0);
}

}  // namespace longhaul
