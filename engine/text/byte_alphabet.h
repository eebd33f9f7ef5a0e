#pragma once

#include <string>
#include <string_view>

namespace longhaul {

// Byte-level BPE writes every byte as one printable character: printable ASCII and Latin-1 as themselves, the others as
// U+0100 and up in order.

// The character of a byte, UTF-8.
std::string_view CharacterOfByte(unsigned char byte);

// The bytes that a token's characters stand for; the token as it is when one of them is outside the alphabet.
std::string BytesOfToken(std::string_view token);

}  // namespace longhaul
