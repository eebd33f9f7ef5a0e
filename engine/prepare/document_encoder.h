#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/stop_condition.h"
#include "engine/prepare/prompt_encoder.h"
#include "engine/request/request.h"
#include "engine/text/document_template.h"

namespace longhaul {

// What the rows of a request with contexts read.
struct ContextRows {
  std::vector<std::vector<TokenId>>
      rows;                        // row 0: the one without a document; then the documents, or windows, in order
  std::vector<TextRange> windows;  // of a long document: the bytes of row i + 1
  // Tokens of rows 1.. that stand behind the document: the template's and the question's. They are the same in each.
  int64_t tokens_after_document = 0;
};

// Turns documents and a question into rows of token ids, by a template. Each document is
// tokenized apart from everything else, so its tokens, and those before it, depend on neither the question nor the
// documents beside it. Immutable: any thread may call.
class DocumentEncoder {
 public:
  // `encoder` is not owned and outlives it. `trained_length`, tokens, gives windows their default; `max_rows`: what a
  // request may have, the row without a document counted.
  DocumentEncoder(const PromptEncoder& encoder, int64_t trained_length, int64_t max_rows)
      : encoder_(encoder), trained_length_(trained_length), max_rows_(max_rows) {}

  // INVALID_ARGUMENT, naming the field, the numbers and `limit`, when a document with its question is more than `most`
  // tokens, or all rows together are more than `most_together`, whatever the texts say: to refuse them without
  // tokenizing them.
  absl::Status CheckLength(const Contexts& contexts, const Prompt& question, int64_t most, int64_t most_together,
                           const std::string& limit) const;

  // `question`: a text, token ids, or a chat of at most one system message and exactly one message of the user, which
  // is the question. Where it is token ids, a row is what the template says and no more: no BOS is added.
  // INVALID_ARGUMENT names the field: a document, contexts.long_document (overlap_tokens that a window of the default
  // length does not hold, too many windows), contexts.document_template, contexts.baseline, prompt. FAILED_PRECONDITION
  // for a system message when the model's template is unknown. CANCELLED soon after `stopped` holds. Rows that together
  // are more than `most_together` tokens are refused, naming `limit`, before they are made. REQUIRES: they are of a
  // request that CheckRequest takes, and the documents with the row without one are at most max_rows.
  absl::StatusOr<ContextRows> Encode(const Contexts& contexts, const Prompt& question,
                                     const StopCondition& stopped = {}, int64_t most_together = INT64_MAX,
                                     const std::string& limit = "") const;

 private:
  // The pieces of a row that are the same in all.
  struct Frame {
    std::vector<TokenId> before, after;  // of the document; `after` holds the question

    int64_t n_tokens() const { return static_cast<int64_t>(before.size() + after.size()); }
  };
  // What all rows together may still hold.
  struct Room {
    int64_t most, left;
    const std::string& limit;

    // Takes a row of so many tokens; INVALID_ARGUMENT of `field`, which begins with `name`, where there is no room.
    absl::Status Take(const std::string& field, const std::string& name, int64_t tokens);
  };

  absl::StatusOr<Frame> EncodeFrame(const Contexts& contexts, const Prompt& question,
                                    const StopCondition& stopped) const;
  absl::StatusOr<std::vector<TokenId>> EncodeText(std::string_view text, const std::string& field,
                                                  const StopCondition& stopped) const;
  absl::StatusOr<std::vector<TokenId>> EncodeDocument(const Document& document, const std::string& field,
                                                      const StopCondition& stopped) const;
  absl::Status AddWindows(const LongDocument& document, const Frame& frame, const StopCondition& stopped, Room& room,
                          ContextRows& rows) const;

  const PromptEncoder& encoder_;
  const int64_t trained_length_, max_rows_;
};

}  // namespace longhaul
