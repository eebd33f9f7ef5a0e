#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace longhaul {

// The offset of the first byte that is not part of valid UTF-8; text.size() when all is. (Overlong forms, surrogates
// and values above U+10FFFF are not valid.)
size_t FirstInvalidUtf8(std::string_view text);

// Takes whole characters from the front of `bytes`; what stays are at most 3 bytes that may still become a character,
// nothing with `at_end`. Each maximal part that can never become one comes out as U+FFFD.
std::string TakeUtf8(std::string& bytes, bool at_end);

}  // namespace longhaul
