#pragma once

#include <string_view>

#include "absl/strings/numbers.h"
#include "engine/base/strings.h"

namespace longhaul {

// As absl::SimpleAtod, but refuses hexadecimal numbers such as 0x10.
inline bool ParseDecimal(std::string_view text, double& value) {
  return text.find_first_of("xX") == std::string_view::npos && absl::SimpleAtod(ToAbsl(text), &value);
}

}  // namespace longhaul
