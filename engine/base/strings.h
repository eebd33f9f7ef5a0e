#pragma once

#include <string_view>

#include "absl/strings/string_view.h"

namespace longhaul {

// Debian's Abseil has a string_view of its own that converts to and from no other: the two bridges at its calls.
inline absl::string_view ToAbsl(std::string_view text) {
  return {text.data(), text.size()};
}
inline std::string_view ToStd(absl::string_view text) {
  return {text.data(), text.size()};
}

}  // namespace longhaul
