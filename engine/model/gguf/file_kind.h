#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace longhaul {

// So many of its first bytes tell what a file is.
inline constexpr size_t kFileKindBytes = 512;

// What users take for a GGUF file and is none, told by its first bytes, and what to do about it: "an HTML page, ...".
// Empty for a file that begins as a GGUF file does.
std::string NameOtherFile(std::span<const std::byte> begin, int64_t file_bytes);

}  // namespace longhaul
