#pragma once

#include <cstddef>
#include <string_view>

namespace longhaul {

// The offset of the first byte that is not part of valid UTF-8; text.size() when all is. (Overlong forms, surrogates
// and values above U+10FFFF are not valid.)
size_t FirstInvalidUtf8(std::string_view text);

// The length of the longest prefix that ends between two characters: what follows is at most 3 bytes that may still
// become a character. REQUIRES nothing of the rest.
size_t CompleteUtf8Prefix(std::string_view text);

}  // namespace longhaul
