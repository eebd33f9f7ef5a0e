#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/stop_condition.h"
#include "engine/request/request.h"
#include "engine/text/chat_template.h"
#include "engine/text/tokenizer.h"

namespace longhaul {

// Turns prompts into token ids. Immutable: any thread may call.
class PromptEncoder {
 public:
  // `chat_template`: "chatml", "llama3", or empty for the style of the vocabulary's, which is also taken where it is of
  // the same family. INVALID_ARGUMENT on another, and on one of whose marks the vocabulary lacks some. Logs a warning
  // when chats will be refused for the vocabulary's template.
  static absl::StatusOr<std::unique_ptr<PromptEncoder>> Create(Vocabulary vocabulary, const std::string& chat_template);

  // INVALID_ARGUMENT names the field (prompt.text, prompt.token_ids.ids[3], ..., where `field` is "prompt"),
  // FAILED_PRECONDITION for a chat when the model's template is unknown. `parse_special`: names of special tokens in a
  // text prompt become those tokens. CANCELLED soon after `stopped` holds. REQUIRES: the prompt is one that CheckPrompt
  // takes.
  absl::StatusOr<std::vector<TokenId>> Encode(const Prompt& prompt, bool parse_special,
                                              const StopCondition& stopped = {},
                                              const std::string& field = "prompt") const;

  // INVALID_ARGUMENT, naming the field, the numbers and `limit`, when a prompt is more than `most` tokens whatever its
  // text is: to refuse it without tokenizing it.
  absl::Status CheckLength(const Prompt& prompt, int64_t most, const std::string& limit,
                           const std::string& field = "prompt") const;

  // The fewest tokens that a prompt or a text can be, whatever it says: nothing is tokenized.
  int64_t MinTokens(const Prompt& prompt) const;
  int64_t MinTokens(std::string_view text) const;

  // INVALID_ARGUMENT naming `field` unless 0 <= id < vocabulary size.
  absl::Status CheckId(const std::string& field, TokenId id) const;
  // The same of each of many, naming field[INDEX].
  absl::Status CheckIds(const std::string& field, std::span<const TokenId> ids) const;

  const Tokenizer& tokenizer() const { return *tokenizer_; }
  // How chats are written, or why they are refused.
  const absl::StatusOr<ChatStyle>& chat_style() const { return chat_style_; }

 private:
  size_t LongestToken() const { return std::max<size_t>(tokenizer_->longest_token(), 1); }  // bytes

  PromptEncoder(std::unique_ptr<Tokenizer> tokenizer, absl::StatusOr<ChatStyle> chat_style)
      : tokenizer_(std::move(tokenizer)), chat_style_(std::move(chat_style)) {}

  std::unique_ptr<Tokenizer> tokenizer_;
  absl::StatusOr<ChatStyle> chat_style_;
};

}  // namespace longhaul
