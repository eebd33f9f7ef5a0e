#pragma once

#include <string_view>

namespace longhaul {

// `text` without what Python's str.strip() takes away at its ends, which is what Jinja's `trim` does.
std::string_view Trim(std::string_view text);
std::string_view TrimFront(std::string_view text);
std::string_view TrimBack(std::string_view text);

}  // namespace longhaul
