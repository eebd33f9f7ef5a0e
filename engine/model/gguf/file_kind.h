#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace longhaul {

// How many leading bytes NameOtherFile looks at.
inline constexpr size_t kFileKindBytes = 512;

// Names the kind of a file that is not GGUF but is often taken for it, by its first bytes, and what to do about it: "an
// HTML page, ...". Empty for a file that begins as a GGUF file does.
std::string NameOtherFile(std::span<const std::byte> begin, int64_t file_bytes);

}  // namespace longhaul
