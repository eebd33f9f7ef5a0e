#pragma once

#include <string>
#include <vector>

namespace longhaul {

// Rows of text in columns that line up; the first column to the left, each as wide as its widest text.
std::string GridText(const std::vector<std::vector<std::string>>& rows);

}  // namespace longhaul
