#include "engine/model/vocabulary_reader.h"

#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/base/quoted.h"
#include "engine/base/status_macros.h"

namespace longhaul {

absl::StatusOr<Vocabulary> ReadVocabulary(const Checkpoint& checkpoint) {
  Vocabulary vocabulary;
  LH_ASSIGN_OR_RETURN(vocabulary.model, checkpoint.String("tokenizer.ggml.model"));
  LH_ASSIGN_OR_RETURN(const std::optional<std::string> pre_tokenizer, checkpoint.OptionalString("tokenizer.ggml.pre"));
  vocabulary.pre_tokenizer = pre_tokenizer.value_or("default");
  LH_ASSIGN_OR_RETURN(const std::vector<std::string>* tokens, checkpoint.Strings("tokenizer.ggml.tokens"));
  vocabulary.tokens = *tokens;

  LH_ASSIGN_OR_RETURN(const auto kinds, checkpoint.OptionalIntegers("tokenizer.ggml.token_type"));
  vocabulary.kinds.assign(tokens->size(), TokenKind::kNormal);
  if (kinds) {
    if (kinds->size() != tokens->size()) {
      return absl::InvalidArgumentError(absl::StrCat(checkpoint.path(), ": key 'tokenizer.ggml.token_type' holds ",
                                                     kinds->size(), " values, expected one per token, ",
                                                     tokens->size()));
    }
    for (size_t i = 0; i < kinds->size(); ++i) {
      const int64_t kind = (*kinds)[i];
      if (kind < 0 || kind > static_cast<int64_t>(TokenKind::kByte)) {
        return absl::InvalidArgumentError(absl::StrCat(checkpoint.path(), ": key 'tokenizer.ggml.token_type' holds ",
                                                       kind, " for token ", i, ", expected 0 to 6"));
      }
      vocabulary.kinds[i] = static_cast<TokenKind>(kind);
    }
  }
  // Only byte-level BPE needs merges; Tokenizer::Create knows the models.
  if (vocabulary.model == "gpt2") {
    LH_ASSIGN_OR_RETURN(const std::vector<std::string>* merges, checkpoint.Strings("tokenizer.ggml.merges"));
    vocabulary.merges = *merges;
  }

  const std::pair<std::string_view, std::optional<TokenId>*> ids[] = {
      {"tokenizer.ggml.bos_token_id", &vocabulary.bos},
      {"tokenizer.ggml.eos_token_id", &vocabulary.eos},
      {"tokenizer.ggml.eot_token_id", &vocabulary.eot},
      {"tokenizer.ggml.unknown_token_id", &vocabulary.unknown}};
  for (const auto& [key, id] : ids) {
    LH_ASSIGN_OR_RETURN(const std::optional<int64_t> value, checkpoint.OptionalInteger(key));
    if (!value) continue;
    if (*value < 0 || *value >= static_cast<int64_t>(tokens->size())) {
      return absl::InvalidArgumentError(absl::StrCat(checkpoint.path(), ": key ", Quoted(key), " holds ", *value,
                                                     ", expected a token of the vocabulary, 0 to ",
                                                     static_cast<int64_t>(tokens->size()) - 1));
    }
    *id = static_cast<TokenId>(*value);
  }

  // Files of Llama 3 leave add_bos_token out and mean true; the other tokenizers of this kind mean false.
  LH_ASSIGN_OR_RETURN(const std::optional<bool> add_bos, checkpoint.OptionalBool("tokenizer.ggml.add_bos_token"));
  vocabulary.add_bos = add_bos.value_or(vocabulary.pre_tokenizer == "llama-bpe") && vocabulary.bos.has_value();
  LH_ASSIGN_OR_RETURN(const std::optional<std::string> chat_template,
                      checkpoint.OptionalString("tokenizer.chat_template"));
  vocabulary.chat_template = chat_template.value_or("");
  return vocabulary;
}

}  // namespace longhaul
