#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace longhaul {

// The Levenshtein distance in bytes: how many must be inserted, removed or replaced to turn `a` into `b`.
size_t EditDistance(std::string_view a, std::string_view b);

// The name that `word` is probably meant to be: the first that begins with it (where it has at least 3 letters), else
// the nearest one at most 2 letters away, or a third of the word where that is less. Empty where there is none.
std::string Nearest(std::string_view word, std::span<const std::string> names);

}  // namespace longhaul
