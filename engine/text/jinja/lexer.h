#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace longhaul::jinja {

enum class TokenKind : uint8_t {
  kText,         // outside of tags
  kBlockBegin,   // {%
  kOutputBegin,  // {{
  kWord,         // a name, an operator or a bracket, or the end of a tag: %} or }}
  kNumber,
  kString,  // its characters, escapes resolved
  kEnd
};

struct Token {
  TokenKind kind;
  std::string text{};
  int line = 1;
};

// The tokens of a template, a kEnd last. White space around tags is taken away as Hugging Face's tokenizers do
// (trim_blocks and lstrip_blocks); comments are left out. INVALID_ARGUMENT names the line.
absl::StatusOr<std::vector<Token>> Tokenize(std::string_view text);

}  // namespace longhaul::jinja
