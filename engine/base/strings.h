#pragma once

#include <string_view>

#include "absl/strings/string_view.h"

namespace longhaul {

// Debian's Abseil has a string_view of its own that is made of no other.
inline absl::string_view ToAbsl(std::string_view text) {
  return {text.data(), text.size()};
}

}  // namespace longhaul
