#pragma once

#include <string>
#include <string_view>

namespace longhaul {

// Untrusted text for a message: in quotes, on one line (see Printable), quotes and backslashes escaped, cut to the
// whole characters of its first 80 bytes.
std::string Quoted(std::string_view text);

}  // namespace longhaul
