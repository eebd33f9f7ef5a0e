#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/text/chat_template.h"
#include "engine/text/tokenizer.h"

namespace longhaul {

// How a document and a question become one text (NBCE's row): before, document, between, question, after. Document and
// question are tokenized apart, each as plain text, so that a document's tokens depend on no question. The document
// comes first, so that its keys do not either.
struct DocumentTemplate {
  std::vector<Segment> before, between, after;
  // Whether the text begins as a text does, with the model's BOS where it wants one; else it writes its own.
  bool wants_bos = false;
};

// A template that a user wrote: `text` with {document} and, after it, {question}, each exactly once. Names of special
// tokens in it become those tokens. INVALID_ARGUMENT, naming no field, says what is missing, twice or in wrong order,
// or at which byte it is not UTF-8.
absl::StatusOr<DocumentTemplate> ParseDocumentTemplate(std::string_view text);

// The template of a style: one turn of the user that holds the document, a blank line and the question, then the
// opening of the assistant's turn; without a style: the document, a blank line, the question and a newline. `system`:
// the system message, if there is one; else the one that the style writes by itself, if any. The status of `style`
// where it has none and there is a system message, INVALID_ARGUMENT naming messages[0] when that is not UTF-8.
absl::StatusOr<DocumentTemplate> DefaultDocumentTemplate(const absl::StatusOr<ChatStyle>& style,
                                                         std::optional<std::string_view> system);

}  // namespace longhaul
