#pragma once

#include <string>

#include "engine/text/tokenizer.h"

namespace longhaul {

// Turns tokens into text one by one, holding back bytes of a character that is not whole. Joined, what it returns is
// the exact text; bytes that can never become a character come out as U+FFFD, one for each maximal invalid part.
class Detokenizer {
 public:
  // `tokenizer` is not owned and outlives it.
  explicit Detokenizer(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}

  // The text that is whole after this token; may be empty. Special tokens give none.
  std::string Append(TokenId id);

  // The end: what was held back, as U+FFFD.
  std::string Finish();

 private:
  const Tokenizer& tokenizer_;
  std::string held_;
};

}  // namespace longhaul
