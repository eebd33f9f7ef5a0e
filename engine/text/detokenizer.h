#pragma once

#include <string>

#include "engine/text/tokenizer.h"

namespace longhaul {

// Turns tokens into text one by one, and holds back bytes of an incomplete character. What it returns adds up to the
// exact text; each maximal invalid part comes out as U+FFFD. One thread.
class Detokenizer {
 public:
  // `tokenizer` is not owned and outlives it.
  explicit Detokenizer(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}

  // The text that this token completes; may be empty. Special tokens have none.
  std::string Append(TokenId id);

  // Ends the text: returns what was held back, as U+FFFD.
  std::string Finish();

 private:
  const Tokenizer& tokenizer_;
  std::string held_;
};

}  // namespace longhaul
