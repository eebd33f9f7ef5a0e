#include "engine/prepare/document_encoder.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/field_error.h"
#include "engine/base/quoted.h"
#include "engine/base/status_macros.h"
#include "engine/text/text_windows.h"

namespace longhaul {
namespace {

std::string FieldOfDocument(size_t i) {
  return absl::StrCat("contexts.documents[", i, "]");
}

// What a message begins with that is about one of several documents.
std::string NameOf(const Document& document) {
  return document.id.empty() ? "" : absl::StrCat(Quoted(document.id), ": ");
}

// A question, taken out of its prompt.
struct Question {
  const std::vector<TokenId>* ids = nullptr;  // or the text:
  std::string_view text{};
  std::string field{};  // where it stands
  std::optional<std::string_view> system{};
};

// A chat is a message of the user, and before it perhaps one of the system.
Question QuestionOf(const Prompt& prompt) {
  if (const auto* ids = std::get_if<TokenPrompt>(&prompt)) {
    return Question{.ids = &ids->ids, .field = "prompt.token_ids"};
  }
  if (const auto* text = std::get_if<TextPrompt>(&prompt)) return Question{.text = text->text, .field = "prompt.text"};
  const std::vector<ChatMessage>& messages = std::get<ChatPrompt>(prompt).messages;
  Question question;
  question.text = messages.back().content;
  question.field = absl::StrCat("prompt.chat.messages[", messages.size() - 1, "].content");
  if (messages.size() > 1) question.system = messages.front().content;
  return question;
}

std::vector<TokenId> Join(std::span<const TokenId> before, std::span<const TokenId> document,
                          std::span<const TokenId> after) {
  std::vector<TokenId> row;
  row.reserve(before.size() + document.size() + after.size());
  for (const auto& piece : {before, document, after}) row.insert(row.end(), piece.begin(), piece.end());
  return row;
}

}  // namespace

absl::Status DocumentEncoder::CheckLength(const Contexts& contexts, const Prompt& question, int64_t most,
                                          int64_t most_together, const std::string& limit) const {
  LH_RETURN_IF_ERROR(encoder_.CheckLength(question, most, limit));
  if (const int64_t least = encoder_.MinTokens(std::string_view(contexts.document_template)); least > most) {
    return FieldError("contexts.document_template",
                      absl::StrCat("at least ", least, " tokens exceed ", most, ", ", limit));
  }
  const int64_t asked = encoder_.MinTokens(question);
  int64_t together = 0;
  std::string field = "contexts.documents";
  if (const auto* documents = std::get_if<std::vector<Document>>(&contexts.source)) {
    for (size_t i = 0; i < documents->size(); ++i) {
      const Document& document = (*documents)[i];
      const auto* text = std::get_if<std::string>(&document.content);
      const int64_t tokens = text != nullptr ? encoder_.MinTokens(std::string_view(*text))
                                             : std::ssize(std::get<std::vector<TokenId>>(document.content));
      together += tokens + asked;
      if (tokens + asked <= most) continue;
      return FieldError(FieldOfDocument(i), absl::StrCat(NameOf(document), "at least ", tokens, " tokens, and ", asked,
                                                         " of the question, exceed ", most, ", ", limit));
    }
  } else {
    field = "contexts.long_document.text";
    together += encoder_.MinTokens(std::string_view(std::get<LongDocument>(contexts.source).text)) + asked;
  }
  if (contexts.baseline.has_value()) {
    LH_RETURN_IF_ERROR(encoder_.CheckLength(*contexts.baseline, most, limit, "contexts.baseline"));
    together += encoder_.MinTokens(*contexts.baseline);
  } else {
    together += asked;
  }
  if (together <= most_together) return absl::OkStatus();
  return FieldError(field, absl::StrCat("all rows together are at least ", together, " tokens, which exceed ",
                                        most_together, ", ", limit));
}

absl::Status DocumentEncoder::Room::Take(const std::string& field, const std::string& name, int64_t tokens) {
  if (tokens <= left) {
    left -= tokens;
    return absl::OkStatus();
  }
  return FieldError(field, absl::StrCat(name, "with it, all rows together exceed ", most, " tokens, ", limit));
}

absl::StatusOr<DocumentEncoder::Frame> DocumentEncoder::EncodeFrame(const Contexts& contexts, const Prompt& prompt,
                                                                    const StopCondition& stopped) const {
  const Question question = QuestionOf(prompt);
  const Tokenizer& tokenizer = encoder_.tokenizer();
  DocumentTemplate shape;
  if (!contexts.document_template.empty()) {
    auto parsed = ParseDocumentTemplate(contexts.document_template);
    if (!parsed.ok()) return AtField("contexts.document_template", parsed.status());
    shape = *std::move(parsed);
  } else {
    auto made = DefaultDocumentTemplate(encoder_.chat_style(), question.system);
    if (!made.ok()) return AtField("prompt.chat", made.status());
    shape = *std::move(made);
  }

  Frame frame;
  const bool add_bos = shape.wants_bos && question.ids == nullptr;
  LH_ASSIGN_OR_RETURN(frame.before, tokenizer.EncodeSegments(shape.before, add_bos, stopped));
  // A template that begins with the BOS has written it.
  if (frame.before.size() > 1 && add_bos && tokenizer.vocabulary().add_bos && frame.before[0] == frame.before[1]) {
    frame.before.erase(frame.before.begin());
  }
  LH_ASSIGN_OR_RETURN(frame.after, tokenizer.EncodeSegments(shape.between, /*add_bos=*/false, stopped));
  std::vector<TokenId> asked;
  if (question.ids != nullptr) {
    asked = *question.ids;
    LH_RETURN_IF_ERROR(encoder_.CheckIds("prompt.token_ids.ids", asked));
  } else {
    auto encoded = tokenizer.Encode(question.text, /*parse_special=*/false, /*add_bos=*/false, stopped);
    if (!encoded.ok()) return AtField(question.field, encoded.status());
    asked = *std::move(encoded);
  }
  LH_ASSIGN_OR_RETURN(const std::vector<TokenId> end,
                      tokenizer.EncodeSegments(shape.after, /*add_bos=*/false, stopped));
  frame.after = Join(frame.after, asked, end);
  return frame;
}

absl::StatusOr<std::vector<TokenId>> DocumentEncoder::EncodeText(std::string_view text, const std::string& field,
                                                                 const StopCondition& stopped) const {
  // The tokenizer asks now and then, but not in a short text; there may be many of them.
  if (stopped && stopped()) return absl::CancelledError("the documents are no longer wanted");
  auto encoded = encoder_.tokenizer().Encode(text, /*parse_special=*/false, /*add_bos=*/false, stopped);
  if (!encoded.ok()) return AtField(field, encoded.status());
  if (encoded->empty()) return FieldError(field, "the document has no token");
  return encoded;
}

absl::StatusOr<std::vector<TokenId>> DocumentEncoder::EncodeDocument(const Document& document, const std::string& field,
                                                                     const StopCondition& stopped) const {
  if (const auto* text = std::get_if<std::string>(&document.content)) return EncodeText(*text, field, stopped);
  const auto& ids = std::get<std::vector<TokenId>>(document.content);
  LH_RETURN_IF_ERROR(encoder_.CheckIds(field + ".token_ids.ids", ids));
  return ids;
}

absl::Status DocumentEncoder::AddWindows(const LongDocument& document, const Frame& frame, const StopCondition& stopped,
                                         Room& room, ContextRows& rows) const {
  const std::string field = "contexts.long_document";
  const int64_t window =
      document.window_tokens != 0 ? document.window_tokens : std::max<int64_t>(trained_length_ / 2, 1);
  const int64_t overlap = document.overlap_tokens.value_or(window / 8);
  // Of a window whose length is given it has been checked.
  if (overlap >= window) {
    return NotAllowed(field + ".overlap_tokens", overlap,
                      absl::StrCat("less than the ", window, " tokens of a window"));
  }
  LH_ASSIGN_OR_RETURN(const std::vector<TokenId> ids, EncodeText(document.text, field + ".text", stopped));
  if (const int64_t windows = NumWindows(std::ssize(ids), window, overlap); windows >= max_rows_) {
    return FieldError(field, absl::StrCat(windows, " windows (", ids.size(), " tokens in windows of ", window,
                                          ", of which ", overlap, " overlap) and the row without a document exceed ",
                                          max_rows_, " rows, what a request may have (--max-rows)"));
  }
  for (const TextWindow& cut : CutIntoWindows(encoder_.tokenizer(), document.text, ids, window, overlap)) {
    LH_RETURN_IF_ERROR(
        room.Take(field, absl::StrCat("window ", rows.windows.size(), ": "), frame.n_tokens() + cut.n_tokens));
    rows.windows.push_back({cut.first_byte, cut.n_bytes});
    rows.rows.push_back(Join(
        frame.before, std::span(ids).subspan(static_cast<size_t>(cut.first_token), static_cast<size_t>(cut.n_tokens)),
        frame.after));
  }
  return absl::OkStatus();
}

absl::StatusOr<ContextRows> DocumentEncoder::Encode(const Contexts& contexts, const Prompt& question,
                                                    const StopCondition& stopped, int64_t most_together,
                                                    const std::string& limit) const {
  Room room{most_together, most_together, limit};
  const auto* documents = std::get_if<std::vector<Document>>(&contexts.source);
  LH_ASSIGN_OR_RETURN(const Frame frame, EncodeFrame(contexts, question, stopped));

  ContextRows rows;
  rows.tokens_after_document = std::ssize(frame.after);
  if (contexts.baseline.has_value()) {
    LH_ASSIGN_OR_RETURN(std::vector<TokenId> baseline,
                        encoder_.Encode(*contexts.baseline, /*parse_special=*/false, stopped, "contexts.baseline"));
    LH_RETURN_IF_ERROR(room.Take("contexts.baseline", "", std::ssize(baseline)));
    rows.rows.push_back(std::move(baseline));
  } else {
    LH_RETURN_IF_ERROR(room.Take("contexts.document_template", "", frame.n_tokens()));
    rows.rows.push_back(Join(frame.before, {}, frame.after));
  }
  if (rows.rows[0].empty()) {
    return FieldError("contexts.baseline", "the row without a document has no token");
  }
  if (documents == nullptr) {
    LH_RETURN_IF_ERROR(AddWindows(std::get<LongDocument>(contexts.source), frame, stopped, room, rows));
    return rows;
  }
  for (size_t i = 0; i < documents->size(); ++i) {
    const Document& document = (*documents)[i];
    const std::string field = FieldOfDocument(i);
    LH_ASSIGN_OR_RETURN(const std::vector<TokenId> ids, EncodeDocument(document, field, stopped));
    LH_RETURN_IF_ERROR(room.Take(field, NameOf(document), frame.n_tokens() + std::ssize(ids)));
    rows.rows.push_back(Join(frame.before, ids, frame.after));
  }
  return rows;
}

}  // namespace longhaul
