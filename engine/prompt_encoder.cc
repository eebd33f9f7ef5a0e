#include "engine/prompt_encoder.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"

namespace longhaul {
namespace {

absl::Status NameField(const std::string& field, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat(field, ": ", status.message()));
}

}  // namespace

absl::StatusOr<std::unique_ptr<PromptEncoder>> PromptEncoder::Create(Vocabulary vocabulary,
                                                                     const std::string& chat_template) {
  ChatFamily family = RecogniseChatFamily(vocabulary.chat_template);
  if (!chat_template.empty()) {
    LH_ASSIGN_OR_RETURN(family, ParseChatFamily(chat_template));
  }
  LH_ASSIGN_OR_RETURN(auto tokenizer, Tokenizer::Create(std::move(vocabulary)));
  return std::unique_ptr<PromptEncoder>(new PromptEncoder(std::move(tokenizer), family));
}

absl::Status PromptEncoder::CheckId(const std::string& field, TokenId id) const {
  if (id >= 0 && id < tokenizer_->vocabulary_size()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(field, ": token id ", id, " is outside the vocabulary: 0 to ", tokenizer_->vocabulary_size() - 1));
}

absl::Status PromptEncoder::CheckLength(const Prompt& prompt, int64_t most, const std::string& limit) const {
  if (const auto* ids = std::get_if<TokenPrompt>(&prompt)) {
    if (static_cast<int64_t>(ids->ids.size()) <= most) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat("prompt.token_ids: ", ids->ids.size(), " tokens exceed ", most, ", ", limit));
  }
  const auto* text = std::get_if<TextPrompt>(&prompt);
  size_t bytes = text != nullptr ? text->text.size() : 0;
  if (const auto* chat = std::get_if<ChatPrompt>(&prompt)) {
    for (const ChatMessage& message : chat->messages) bytes += message.content.size();
  }
  const size_t longest = std::max<size_t>(tokenizer_->longest_token(), 1);
  if (bytes / longest <= static_cast<size_t>(most)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(text != nullptr ? "prompt.text: " : "prompt.chat: ", bytes,
                                                 " bytes, in tokens of at most ", longest, " bytes, exceed ", most,
                                                 " tokens, ", limit));
}

absl::StatusOr<std::vector<TokenId>> PromptEncoder::Encode(const Prompt& prompt, bool parse_special,
                                                           const StopCondition& stopped) const {
  if (const auto* ids = std::get_if<TokenPrompt>(&prompt)) {
    for (size_t i = 0; i < ids->ids.size(); ++i) {
      LH_RETURN_IF_ERROR(CheckId(absl::StrCat("prompt.token_ids.ids[", i, "]"), ids->ids[i]));
    }
    if (ids->ids.empty()) return absl::InvalidArgumentError("prompt.token_ids: the prompt is empty");
    return ids->ids;
  }
  if (const auto* text = std::get_if<TextPrompt>(&prompt)) {
    if (text->text.empty()) return absl::InvalidArgumentError("prompt.text: the prompt is empty");
    auto encoded = tokenizer_->Encode(text->text, parse_special, /*add_bos=*/true, stopped);
    if (!encoded.ok()) return NameField("prompt.text", encoded.status());
    return encoded;
  }
  const auto& chat = std::get<ChatPrompt>(prompt);
  std::vector<ChatTurn> turns;
  for (const ChatMessage& message : chat.messages) turns.push_back({message.role, message.content});
  auto segments = RenderChat(chat_family_, tokenizer_->vocabulary().chat_template, turns);
  if (!segments.ok()) return NameField("prompt.chat", segments.status());
  // A template writes its own BOS.
  auto encoded = tokenizer_->EncodeSegments(*segments, /*add_bos=*/false, stopped);
  if (!encoded.ok()) return NameField("prompt.chat", encoded.status());
  return encoded;
}

}  // namespace longhaul
