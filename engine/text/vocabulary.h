#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/base/token.h"

namespace longhaul {

// GGUF's tokenizer.ggml.token_type.
enum class TokenKind : int32_t {
  kUndefined = 0,
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6
};

// A tokenizer as a model file declares it.
struct Vocabulary {
  std::string model;          // tokenizer.ggml.model; "gpt2" is byte-level BPE
  std::string pre_tokenizer;  // tokenizer.ggml.pre
  std::vector<std::string>
      tokens;  // [vocabulary], in the byte-to-unicode alphabet of byte-level BPE; specials as they are
  std::vector<TokenKind> kinds;     // [vocabulary]
  std::vector<std::string> merges;  // "left right", by rank
  std::optional<TokenId> bos, eos, eot, unknown;
  bool add_bos = false;       // a BOS stands before every text
  std::string chat_template;  // Jinja, as the file holds it; empty when it has none
};

}  // namespace longhaul
