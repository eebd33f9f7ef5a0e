#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace longhaul {

// The most that is read of one file or of standard input: more than any model's text, and less than the memory.
constexpr int64_t kMaxInputBytes = int64_t{256} << 20;

// All bytes of a file, also of a pipe; "-" is standard input. INVALID_ARGUMENT names `flag` and the path.
absl::StatusOr<std::string> ReadFile(const std::string& flag, const std::string& path);

// All that a descriptor still holds; `name` stands for it in messages. A terminal is told that it is read.
absl::StatusOr<std::string> ReadDescriptor(int descriptor, const std::string& name);

// Whole or not at all, also when the machine stops meanwhile: a new file beside `path` takes its name, unless that is a
// link, a pipe or a device. INVALID_ARGUMENT when it cannot be opened, INTERNAL when not all could be written.
absl::Status WriteFile(const char* flag, const std::string& path, const std::string& bytes);

// SHA-256 in lower-case hexadecimal digits.
std::string Sha256(const std::string& bytes);

// $LONGHAUL_CACHE, else $XDG_CACHE_HOME/longhaul, else ~/.cache/longhaul.
std::filesystem::path CacheFolder();

}  // namespace longhaul
