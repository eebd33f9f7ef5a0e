#pragma once

#include <string>
#include <string_view>

namespace longhaul {

// Untrusted text for a log or a terminal: one line in which every control character (C0, DEL and C1) is written as an
// escape (\n, \t, \x1b, \u009b) and every byte that is not UTF-8 as \xff. All else stays, a backslash too.
std::string Printable(std::string_view text);

// As Printable, but line breaks and tabs stay: for text of several lines, as an answer is.
std::string PrintableText(std::string_view text);

}  // namespace longhaul
