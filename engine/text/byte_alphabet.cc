#include "engine/text/byte_alphabet.h"

#include <array>

namespace longhaul {
namespace {

struct Alphabet {
  Alphabet() {
    byte_of.fill(-1);
    int next = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
      const bool itself = (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
      const int code = itself ? byte : next++;
      byte_of[static_cast<size_t>(code)] = byte;
      std::string& character = character_of[static_cast<size_t>(byte)];
      if (code < 0x80) {
        character = static_cast<char>(code);
      } else {
        character = {static_cast<char>(0xc0 | code >> 6), static_cast<char>(0x80 | (code & 0x3f))};
      }
    }
  }
  std::array<std::string, 256> character_of;
  std::array<int, 0x800> byte_of;  // by code point
};

const Alphabet& TheAlphabet() {
  static const Alphabet alphabet;
  return alphabet;
}

}  // namespace

std::string_view CharacterOfByte(unsigned char byte) {
  return TheAlphabet().character_of[byte];
}

std::string BytesOfToken(std::string_view token) {
  const Alphabet& alphabet = TheAlphabet();
  std::string bytes;
  for (size_t i = 0; i < token.size(); ++i) {
    const auto lead = static_cast<unsigned char>(token[i]);
    unsigned code = lead;
    size_t length = 1;
    if (lead >= 0xc0 && lead < 0xe0 && i + 1 < token.size()) {
      code = (lead & 0x1fu) << 6 | (static_cast<unsigned char>(token[i + 1]) & 0x3fu);
      length = 2;
    }
    const bool whole = lead < 0x80 || length == 2;
    const int byte = whole ? alphabet.byte_of[code] : -1;
    if (byte >= 0) {
      bytes.push_back(static_cast<char>(byte));
    } else {
      bytes.append(token.substr(i, length));
    }
    i += length - 1;
  }
  return bytes;
}

}  // namespace longhaul
