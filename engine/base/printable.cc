#include "engine/base/printable.h"

#include "engine/base/utf8.h"

namespace longhaul {
namespace {

void AppendHex(std::string& out, const char* prefix, unsigned char byte) {
  constexpr char kDigits[] = "0123456789abcdef";
  out += prefix;
  out += kDigits[byte >> 4];
  out += kDigits[byte & 15];
}

std::string Escape(std::string_view text, bool keep_lines) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const size_t valid = FirstInvalidUtf8(text);
    for (size_t i = 0; i < valid; ++i) {
      const char c = text[i];
      const auto byte = static_cast<unsigned char>(c);
      if (c == '\n' || c == '\t') {
        if (keep_lines) {
          out += c;
        } else {
          out += c == '\n' ? "\\n" : "\\t";
        }
      } else if (c == '\r') {
        out += "\\r";
      } else if (byte < 0x20 || byte == 0x7f) {
        AppendHex(out, "\\x", byte);
      } else if (byte == 0xc2 && static_cast<unsigned char>(text[i + 1]) < 0xa0) {
        AppendHex(out, "\\u00", static_cast<unsigned char>(text[++i]));
      } else {
        out += c;
      }
    }
    text.remove_prefix(valid);
    if (text.empty()) break;
    AppendHex(out, "\\x", static_cast<unsigned char>(text[0]));
    text.remove_prefix(1);
  }
  return out;
}

}  // namespace

std::string Printable(std::string_view text) {
  return Escape(text, /*keep_lines=*/false);
}

std::string PrintableText(std::string_view text) {
  return Escape(text, /*keep_lines=*/true);
}

}  // namespace longhaul
