#pragma once

#include <string_view>

#include "absl/strings/string_view.h"

namespace longhaul {

// Debian's absl::string_view is not std::string_view and cannot be made from one implicitly.
inline absl::string_view ToAbsl(std::string_view text) {
  return {text.data(), text.size()};
}

}  // namespace longhaul
