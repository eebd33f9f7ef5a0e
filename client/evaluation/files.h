#pragma once

#include <filesystem>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace longhaul {

// The file's bytes; the error names `flag` and the path.
absl::StatusOr<std::string> ReadFile(const char* flag, const std::string& path);

// Whole or not at all, also when the machine stops meanwhile: a new file beside `path` takes its name.
absl::Status WriteFile(const char* flag, const std::string& path, const std::string& bytes);

// SHA-256 in lower-case hexadecimal digits.
std::string Sha256(const std::string& bytes);

// $LONGHAUL_CACHE, else $XDG_CACHE_HOME/longhaul, else ~/.cache/longhaul.
std::filesystem::path CacheFolder();

}  // namespace longhaul
