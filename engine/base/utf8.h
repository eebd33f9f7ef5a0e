#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace longhaul {

// The offset of the first byte that is not part of valid UTF-8; text.size() when all is. (Overlong forms, surrogates
// and values above U+10FFFF are not valid.)
size_t FirstInvalidUtf8(std::string_view text);

// Removes whole characters from the front of `bytes` and returns them; each maximal invalid part comes out as U+FFFD.
// At most 3 bytes stay, which may still become a character; none with `at_end`.
std::string TakeUtf8(std::string& bytes, bool at_end);

}  // namespace longhaul
