#include "client/context_flags.h"

#include <CLI/CLI.hpp>
#include <utility>

#include "absl/status/statusor.h"
#include "client/command_flags.h"
#include "engine/base/status_macros.h"

namespace longhaul {

void AddContexts(CLI::App& command, ContextFlags& flags) {
  CLI::Option* const documents =
      command.add_option("--documents", flags.documents, "files, each read in a row of its own");
  CLI::Option* const long_document =
      command.add_option("--long-document", flags.long_document, "one file, read in overlapping windows");
  long_document->excludes(documents);
  command.add_option("--window", flags.window, "tokens of a window; 0: half of the trained length")
      ->needs(long_document);
  command
      .add_option("--overlap", flags.overlap, "tokens that a window shares with the one before; by default an eighth")
      ->needs(long_document)
      ->check(CLI::Range(int64_t{0}, int64_t{UINT32_MAX}));
  command.add_option(
      "--document-template", flags.document_template,
      "the text of a row, with {document} and after it {question}; by default that of the model's chats");
}

absl::Status FillContexts(const ContextFlags& flags, v1::GenerateRequest& request) {
  v1::Contexts& contexts = *request.mutable_contexts();
  contexts.set_document_template(flags.document_template);
  if (!flags.long_document.empty()) {
    LH_ASSIGN_OR_RETURN(std::string text, ReadFile("--long-document", flags.long_document));
    v1::LongDocument& document = *contexts.mutable_long_document();
    document.set_text(std::move(text));
    document.set_window_tokens(flags.window);
    if (flags.overlap >= 0) document.set_overlap_tokens(static_cast<uint32_t>(flags.overlap));
    return absl::OkStatus();
  }
  for (const std::string& file : flags.documents) {
    LH_ASSIGN_OR_RETURN(std::string text, ReadFile("--documents", file));
    v1::Document& document = *contexts.mutable_documents()->add_documents();
    document.set_id(file);
    document.set_text(std::move(text));
  }
  return absl::OkStatus();
}

}  // namespace longhaul
