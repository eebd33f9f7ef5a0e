#include "engine/base/memory_limit.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>
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

// The process's place in the hierarchy of a version of control groups: version 2 has a line "0::/PLACE", version 1 one
// "N:memory:/PLACE".
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

int64_t LeastOfGroups(const std::filesystem::path& mount, std::filesystem::path place, const char* file,
                      int64_t limit) {
  for (;; place = place.parent_path()) {
    limit = std::min(limit, ReadBytes(mount / place / file).value_or(limit));
    if (place.empty()) return limit;
  }
}

}  // namespace

int64_t MemoryLimit(const std::filesystem::path& root) {
  int64_t limit = static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<int64_t>(sysconf(_SC_PAGE_SIZE));
  const std::filesystem::path mount = root / "sys/fs/cgroup";
  limit = LeastOfGroups(mount, GroupPlace(root, ""), "memory.max", limit);
  return LeastOfGroups(mount / "memory", GroupPlace(root, "memory"), "memory.limit_in_bytes", limit);
}

}  // namespace longhaul
