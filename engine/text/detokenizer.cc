#include "engine/text/detokenizer.h"

#include "engine/base/utf8.h"

namespace longhaul {

std::string Detokenizer::Append(TokenId id) {
  if (tokenizer_.IsSpecial(id)) return std::string();
  held_ += tokenizer_.TokenBytes(id);
  return TakeUtf8(held_, /*at_end=*/false);
}

std::string Detokenizer::Finish() {
  return TakeUtf8(held_, /*at_end=*/true);
}

}  // namespace longhaul
