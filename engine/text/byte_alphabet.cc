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
  std::array<int, 0x800> byte_of;  // by code point; -1 outside the alphabet
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
  bytes.reserve(token.size());
  for (size_t i = 0; i < token.size(); ++i) {
    unsigned code = static_cast<unsigned char>(token[i]);
    if (code >= 0x80) {
      // All characters of the alphabet take at most two bytes.
      if (code < 0xc2 || code > 0xdf || i + 1 == token.size()) return std::string(token);
      const unsigned second = static_cast<unsigned char>(token[++i]);
      if ((second & 0xc0) != 0x80) return std::string(token);
      code = (code & 0x1f) << 6 | (second & 0x3f);
    }
    const int byte = alphabet.byte_of[code];
    if (byte < 0) return std::string(token);
    bytes.push_back(static_cast<char>(byte));
  }
  return bytes;
}

}  // namespace longhaul
