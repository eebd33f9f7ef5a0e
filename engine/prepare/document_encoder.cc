#include "engine/prepare/document_encoder.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <span>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/quoted.h"
#include "engine/base/status_macros.h"
#include "engine/text/text_windows.h"

namespace longhaul {
namespace {

absl::Status NameField(const std::string& field, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat(field, ": ", status.message()));
}

std::string NameOf(const std::vector<Document>& documents, size_t i) {
  const std::string& id = documents[i].id;
  return absl::StrCat("contexts.documents[", i, "]", id.empty() ? "" : absl::StrCat(" (", Quoted(id), ")"));
}

bool IsEmpty(const Document& document) {
  return std::visit([](const auto& content) { return content.empty(); }, document.content);
}

// A question, taken out of its prompt.
struct Question {
  const std::vector<TokenId>* ids = nullptr;  // or the text:
  std::string_view text{};
  std::string field{};  // where it stands
  std::optional<std::string_view> system{};
};

absl::StatusOr<Question> QuestionOf(const Prompt& prompt) {
  if (const auto* ids = std::get_if<TokenPrompt>(&prompt))
    return Question{.ids = &ids->ids, .field = "prompt.token_ids"};
  if (const auto* text = std::get_if<TextPrompt>(&prompt)) return Question{.text = text->text, .field = "prompt.text"};
  const std::vector<ChatMessage>& messages = std::get<ChatPrompt>(prompt).messages;
  const auto is = [&](size_t i, std::string_view role) { return i < messages.size() && messages[i].role == role; };
  const size_t user = is(0, "system") ? 1 : 0;
  if (!is(user, "user") || messages.size() != user + 1) {
    return absl::InvalidArgumentError(
        "prompt.chat: with contexts a chat holds one message of the user, which is the question, and before it at most "
        "one system message");
  }
  Question question;
  question.text = messages[user].content;
  question.field = absl::StrCat("prompt.chat.messages[", user, "].content");
  if (user == 1) question.system = messages[0].content;
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

absl::Status DocumentEncoder::CheckRows(const std::string& field, int64_t documents, const std::string& what) const {
  if (documents < max_rows_) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(field, ": ", documents, " ", what,
                                                 " and the row without a document exceed ", max_rows_,
                                                 " rows, what a request may have (--max-rows)"));
}

absl::Status DocumentEncoder::CheckDocuments(const std::vector<Document>& documents) const {
  if (documents.empty()) return absl::InvalidArgumentError("contexts.documents: there is none; at least one is needed");
  LH_RETURN_IF_ERROR(CheckRows("contexts.documents", std::ssize(documents), "documents"));
  std::unordered_map<std::string_view, size_t> seen;
  for (size_t i = 0; i < documents.size(); ++i) {
    if (IsEmpty(documents[i])) return absl::InvalidArgumentError(NameOf(documents, i) + ": the document is empty");
    if (documents[i].id.empty()) continue;
    const auto [first, is_new] = seen.emplace(documents[i].id, i);
    if (is_new) continue;
    return absl::InvalidArgumentError(absl::StrCat("contexts.documents[", i, "].id: ", Quoted(documents[i].id),
                                                   " is the id of document ", first->second, ", too"));
  }
  return absl::OkStatus();
}

absl::Status DocumentEncoder::CheckLength(const Contexts& contexts, const Prompt& question, int64_t most,
                                          int64_t most_together, const std::string& limit) const {
  LH_RETURN_IF_ERROR(encoder_.CheckLength(question, most, limit));
  if (const int64_t least = encoder_.MinTokens(std::string_view(contexts.document_template)); least > most) {
    return absl::InvalidArgumentError(
        absl::StrCat("contexts.document_template: at least ", least, " tokens exceed ", most, ", ", limit));
  }
  const int64_t asked = encoder_.MinTokens(question);
  int64_t together = 0;
  const auto add = [&](const std::string& name, int64_t tokens) {
    together += tokens + asked;
    if (tokens + asked <= most) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat(name, ": at least ", tokens, " tokens, and ", asked,
                                                   " of the question, exceed ", most, ", ", limit));
  };
  std::string name = "contexts.documents";
  if (const auto* documents = std::get_if<std::vector<Document>>(&contexts.source)) {
    for (size_t i = 0; i < documents->size(); ++i) {
      const auto* text = std::get_if<std::string>(&(*documents)[i].content);
      LH_RETURN_IF_ERROR(add(NameOf(*documents, i),
                             text != nullptr ? encoder_.MinTokens(std::string_view(*text))
                                             : std::ssize(std::get<std::vector<TokenId>>((*documents)[i].content))));
    }
  } else {
    name = "contexts.long_document.text";
    together += encoder_.MinTokens(std::string_view(std::get<LongDocument>(contexts.source).text)) + asked;
  }
  if (contexts.baseline.has_value()) {
    LH_RETURN_IF_ERROR(encoder_.CheckLength(*contexts.baseline, most, limit, "contexts.baseline"));
    together += encoder_.MinTokens(*contexts.baseline);
  } else {
    together += asked;
  }
  if (together <= most_together) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(name, ": all rows together are at least ", together,
                                                 " tokens, which exceed ", most_together, ", ", limit));
}

absl::Status DocumentEncoder::Room::Take(const std::string& field, int64_t tokens) {
  if (tokens <= left) {
    left -= tokens;
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat(field, ": with it, all rows together exceed ", most, " tokens, ", limit));
}

absl::StatusOr<DocumentEncoder::Frame> DocumentEncoder::EncodeFrame(const Contexts& contexts, const Prompt& prompt,
                                                                    const StopCondition& stopped) const {
  LH_ASSIGN_OR_RETURN(const Question question, QuestionOf(prompt));
  const Tokenizer& tokenizer = encoder_.tokenizer();
  DocumentTemplate shape;
  if (!contexts.document_template.empty()) {
    if (question.system.has_value()) {
      return absl::InvalidArgumentError(
          "prompt.chat.messages[0]: with contexts.document_template the template itself holds the system message");
    }
    auto parsed = ParseDocumentTemplate(contexts.document_template);
    if (!parsed.ok()) return NameField("contexts.document_template", parsed.status());
    shape = *std::move(parsed);
  } else {
    auto made = DefaultDocumentTemplate(encoder_.chat_style(), question.system);
    if (!made.ok()) return NameField("prompt.chat", made.status());
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
    if (!encoded.ok()) return NameField(question.field, encoded.status());
    asked = *std::move(encoded);
  }
  LH_ASSIGN_OR_RETURN(const std::vector<TokenId> end,
                      tokenizer.EncodeSegments(shape.after, /*add_bos=*/false, stopped));
  frame.after = Join(frame.after, asked, end);
  return frame;
}

absl::StatusOr<std::vector<TokenId>> DocumentEncoder::EncodeText(std::string_view text, const std::string& name,
                                                                 const StopCondition& stopped) const {
  // The tokenizer asks now and then, but not in a short text; there may be many of them.
  if (stopped && stopped()) return absl::CancelledError("the documents are no longer wanted");
  auto encoded = encoder_.tokenizer().Encode(text, /*parse_special=*/false, /*add_bos=*/false, stopped);
  if (!encoded.ok()) return NameField(name, encoded.status());
  if (encoded->empty()) return absl::InvalidArgumentError(name + ": the document has no token");
  return encoded;
}

absl::StatusOr<std::vector<TokenId>> DocumentEncoder::EncodeDocument(const Document& document, const std::string& name,
                                                                     const StopCondition& stopped) const {
  if (const auto* text = std::get_if<std::string>(&document.content)) return EncodeText(*text, name, stopped);
  const auto& ids = std::get<std::vector<TokenId>>(document.content);
  LH_RETURN_IF_ERROR(encoder_.CheckIds(name + ".token_ids.ids", ids));
  return ids;
}

absl::Status DocumentEncoder::AddWindows(const LongDocument& document, const Frame& frame, const StopCondition& stopped,
                                         Room& room, ContextRows& rows) const {
  const std::string field = "contexts.long_document";
  if (document.text.empty()) return absl::InvalidArgumentError(field + ".text: the document is empty");
  const int64_t window =
      document.window_tokens != 0 ? document.window_tokens : std::max<int64_t>(trained_length_ / 2, 1);
  if (window < 0) {
    return absl::InvalidArgumentError(absl::StrCat(field, ".window_tokens: ", window, " is not allowed"));
  }
  const int64_t overlap = document.overlap_tokens.value_or(window / 8);
  if (overlap < 0 || overlap >= window) {
    return absl::InvalidArgumentError(absl::StrCat(field, ".overlap_tokens: ", overlap,
                                                   " is not allowed; it must be at least 0 and less than the ", window,
                                                   " tokens of a window"));
  }
  LH_ASSIGN_OR_RETURN(const std::vector<TokenId> ids, EncodeText(document.text, field + ".text", stopped));
  LH_RETURN_IF_ERROR(CheckRows(
      field, NumWindows(std::ssize(ids), window, overlap),
      absl::StrCat("windows (", ids.size(), " tokens in windows of ", window, ", of which ", overlap, " overlap)")));
  for (const TextWindow& cut : CutIntoWindows(encoder_.tokenizer(), document.text, ids, window, overlap)) {
    LH_RETURN_IF_ERROR(
        room.Take(absl::StrCat(field, ": window ", rows.windows.size()), frame.n_tokens() + cut.n_tokens));
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
  if (documents != nullptr) LH_RETURN_IF_ERROR(CheckDocuments(*documents));
  LH_ASSIGN_OR_RETURN(const Frame frame, EncodeFrame(contexts, question, stopped));

  ContextRows rows;
  rows.tokens_after_document = std::ssize(frame.after);
  if (contexts.baseline.has_value()) {
    LH_ASSIGN_OR_RETURN(std::vector<TokenId> baseline,
                        encoder_.Encode(*contexts.baseline, /*parse_special=*/false, stopped, "contexts.baseline"));
    LH_RETURN_IF_ERROR(room.Take("contexts.baseline", std::ssize(baseline)));
    rows.rows.push_back(std::move(baseline));
  } else {
    LH_RETURN_IF_ERROR(room.Take("contexts.document_template", frame.n_tokens()));
    rows.rows.push_back(Join(frame.before, {}, frame.after));
  }
  if (rows.rows[0].empty()) {
    return absl::InvalidArgumentError("contexts.baseline: the row without a document has no token");
  }
  if (documents == nullptr) {
    LH_RETURN_IF_ERROR(AddWindows(std::get<LongDocument>(contexts.source), frame, stopped, room, rows));
    return rows;
  }
  for (size_t i = 0; i < documents->size(); ++i) {
    LH_ASSIGN_OR_RETURN(const std::vector<TokenId> document,
                        EncodeDocument((*documents)[i], NameOf(*documents, i), stopped));
    LH_RETURN_IF_ERROR(room.Take(NameOf(*documents, i), frame.n_tokens() + std::ssize(document)));
    rows.rows.push_back(Join(frame.before, document, frame.after));
  }
  return rows;
}

}  // namespace longhaul
