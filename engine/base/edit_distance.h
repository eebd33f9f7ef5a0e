#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace longhaul {

// How many letters must be put in, taken out or replaced to make `b` of `a` (Levenshtein).
size_t EditDistance(std::string_view a, std::string_view b);

// What somebody who wrote `word` meant: of `names` the one that begins with it, else the one that is nearest and at
// most 2 letters (a third of a short word) away. Empty when there is none.
std::string Nearest(std::string_view word, std::span<const std::string> names);

}  // namespace longhaul
