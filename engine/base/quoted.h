#pragma once

#include <string>
#include <string_view>

#include "absl/strings/escaping.h"
#include "engine/base/strings.h"

namespace longhaul {

// Untrusted text for a message: in quotes, printable, at most 80 of its bytes.
inline std::string Quoted(std::string_view text) {
  constexpr size_t kMaxBytes = 80;
  const std::string shown = absl::CHexEscape(ToAbsl(text.substr(0, kMaxBytes)));
  return "'" + shown + (text.size() > kMaxBytes ? "...'" : "'");
}

}  // namespace longhaul
