#include "engine/prepare/prompt_encoder.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/base/field_error.h"
#include "engine/base/log.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/text/chat_style.h"

namespace longhaul {
namespace {

// REQUIRES: it is no TokenPrompt.
size_t TextBytes(const Prompt& prompt) {
  if (const auto* text = std::get_if<TextPrompt>(&prompt)) return text->text.size();
  size_t bytes = 0;
  for (const ChatMessage& message : std::get<ChatPrompt>(prompt).messages) bytes += message.content.size();
  return bytes;
}

// The marks of a family that the vocabulary lacks; empty: none. Without them a chat is garbage to the model.
std::string MissingMarks(const Tokenizer& tokenizer, ChatFamily family) {
  std::vector<std::string> missing;
  for (const std::string_view mark : ChatMarks(family)) {
    if (!tokenizer.FindSpecial(mark).has_value()) missing.emplace_back(mark);
  }
  return missing.empty() ? "" : absl::StrCat("the vocabulary has no ", absl::StrJoin(missing, ", "));
}

}  // namespace

absl::StatusOr<std::unique_ptr<PromptEncoder>> PromptEncoder::Create(Vocabulary vocabulary,
                                                                     const std::string& chat_template) {
  LH_ASSIGN_OR_RETURN(auto tokenizer, Tokenizer::Create(std::move(vocabulary)));
  absl::StatusOr<ChatStyle> style = FindChatStyle(tokenizer->vocabulary());
  if (!chat_template.empty()) {
    LH_ASSIGN_OR_RETURN(const ChatFamily family, ParseChatFamily(chat_template));
    if (const std::string missing = MissingMarks(*tokenizer, family); !missing.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("--chat-template ", chat_template, ": ", missing, ": the model was not trained with it"));
    }
    if (!style.ok() || style->family != family) style = PlainChatStyle(family, tokenizer->vocabulary());
  } else if (style.ok()) {
    const std::string missing = MissingMarks(*tokenizer, style->family);
    if (!missing.empty()) style = absl::FailedPreconditionError("the model's chat template is none for it: " + missing);
  }
  if (!style.ok() && !tokenizer->vocabulary().chat_template.empty()) {
    LogWarning("chats will be refused: ", style.status().message());
  }
  return std::unique_ptr<PromptEncoder>(new PromptEncoder(std::move(tokenizer), std::move(style)));
}

absl::Status PromptEncoder::CheckId(const std::string& field, TokenId id) const {
  if (id >= 0 && id < tokenizer_->vocabulary_size()) return absl::OkStatus();
  return FieldError(
      field, absl::StrCat("token id ", id, " is outside the vocabulary: 0 to ", tokenizer_->vocabulary_size() - 1));
}

absl::Status PromptEncoder::CheckIds(const std::string& field, std::span<const TokenId> ids) const {
  const auto wrong = std::find_if(ids.begin(), ids.end(),
                                  [n = tokenizer_->vocabulary_size()](TokenId id) { return id < 0 || id >= n; });
  if (wrong == ids.end()) return absl::OkStatus();
  return CheckId(absl::StrCat(field, "[", wrong - ids.begin(), "]"), *wrong);
}

int64_t PromptEncoder::MinTokens(std::string_view text) const {
  return static_cast<int64_t>(text.size() / LongestToken());
}

int64_t PromptEncoder::MinTokens(const Prompt& prompt) const {
  if (const auto* ids = std::get_if<TokenPrompt>(&prompt)) return static_cast<int64_t>(ids->ids.size());
  return static_cast<int64_t>(TextBytes(prompt) / LongestToken());
}

absl::Status PromptEncoder::CheckLength(const Prompt& prompt, int64_t most, const std::string& limit,
                                        const std::string& field) const {
  if (MinTokens(prompt) <= most) return absl::OkStatus();
  if (const auto* ids = std::get_if<TokenPrompt>(&prompt)) {
    return FieldError(field + ".token_ids", absl::StrCat(ids->ids.size(), " tokens exceed ", most, ", ", limit));
  }
  return FieldError(field + (std::holds_alternative<TextPrompt>(prompt) ? ".text" : ".chat"),
                    absl::StrCat(TextBytes(prompt), " bytes, in tokens of at most ", LongestToken(), " bytes, exceed ",
                                 most, " tokens, ", limit));
}

absl::StatusOr<std::vector<TokenId>> PromptEncoder::Encode(const Prompt& prompt, bool parse_special,
                                                           const StopCondition& stopped,
                                                           const std::string& field) const {
  if (const auto* ids = std::get_if<TokenPrompt>(&prompt)) {
    LH_RETURN_IF_ERROR(CheckIds(field + ".token_ids.ids", ids->ids));
    return ids->ids;
  }
  if (const auto* text = std::get_if<TextPrompt>(&prompt)) {
    auto encoded = tokenizer_->Encode(text->text, parse_special, /*add_bos=*/true, stopped);
    if (!encoded.ok()) return AtField(field + ".text", encoded.status());
    return encoded;
  }
  const auto& chat = std::get<ChatPrompt>(prompt);
  std::vector<ChatTurn> turns;
  for (const ChatMessage& message : chat.messages) turns.push_back({message.role, message.content});
  if (!chat_style_.ok()) return AtField(field + ".chat", chat_style_.status());
  auto segments = RenderChat(*chat_style_, turns);
  if (!segments.ok()) return AtField(field + ".chat", segments.status());
  // The style writes the BOS, if it has one.
  auto encoded = tokenizer_->EncodeSegments(*segments, /*add_bos=*/false, stopped);
  if (!encoded.ok()) return AtField(field + ".chat", encoded.status());
  return encoded;
}

}  // namespace longhaul
