#include "engine/base/utf8.h"

#include <cstdint>
#include <cstring>

namespace longhaul {
namespace {

// What `text` begins with: a whole character (`whole`), a part that may still become one (`partial`, all of the text),
// or a maximal invalid part (neither). `length`: its bytes, at least 1.
struct Head {
  size_t length;
  bool whole, partial;
};

Head ReadHead(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {1, true, false};
  size_t length = 0;
  if (lead >= 0xc2 && lead < 0xe0) length = 2;
  if (lead >= 0xe0 && lead < 0xf0) length = 3;
  if (lead >= 0xf0 && lead < 0xf5) length = 4;
  if (length == 0) return {1, false, false};
  // The second byte's range rules out overlong forms, surrogates and what lies above U+10FFFF.
  unsigned char low = 0x80, high = 0xbf;
  if (lead == 0xe0) low = 0xa0;
  if (lead == 0xed) high = 0x9f;
  if (lead == 0xf0) low = 0x90;
  if (lead == 0xf4) high = 0x8f;
  for (size_t i = 1; i < length; ++i) {
    if (i == text.size()) return {i, false, true};
    if (byte(i) < low || byte(i) > high) return {i, false, false};
    low = 0x80;
    high = 0xbf;
  }
  return {length, true, false};
}

}  // namespace

size_t FirstInvalidUtf8(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    // Eight bytes of ASCII at once.
    if (uint64_t eight; at + sizeof(eight) <= text.size()) {
      std::memcpy(&eight, text.data() + at, sizeof(eight));
      if ((eight & 0x8080808080808080u) == 0) {
        at += sizeof(eight);
        continue;
      }
    }
    const Head head = ReadHead(text.substr(at));
    if (!head.whole) return at;
    at += head.length;
  }
  return at;
}

std::string TakeUtf8(std::string& bytes, bool at_end) {
  std::string text;
  size_t at = 0;
  while (at < bytes.size()) {
    const Head head = ReadHead(std::string_view(bytes).substr(at));
    if (head.whole) {
      text.append(bytes, at, head.length);
    } else if (head.partial && !at_end) {
      break;
    } else {
      text += "\xef\xbf\xbd";
    }
    at += head.length;
  }
  bytes.erase(0, at);
  return text;
}

}  // namespace longhaul
