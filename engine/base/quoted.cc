#include "engine/base/quoted.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/base/printable.h"

namespace longhaul {
namespace {

constexpr size_t kMaxBytes = 80;

bool Continues(char c) {
  return (static_cast<unsigned char>(c) & 0xc0) == 0x80;
}

}  // namespace

std::string Quoted(std::string_view text) {
  size_t shown = std::min(text.size(), kMaxBytes);
  // A character has three continuing bytes at most; more are no UTF-8, and cut anywhere.
  for (size_t back = 0; back < 3 && shown < text.size() && Continues(text[shown]); ++back) --shown;
  std::string escaped;
  for (const char c : text.substr(0, shown)) {
    if (c == '\\' || c == '\'') escaped += '\\';
    escaped += c;
  }
  return absl::StrCat("'", Printable(escaped), shown < text.size() ? "...'" : "'");
}

}  // namespace longhaul
