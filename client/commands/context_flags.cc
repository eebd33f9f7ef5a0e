#include "client/commands/context_flags.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/io/text_input.h"
#include "engine/base/command_line/command_line.h"
#include "engine/base/printable.h"
#include "engine/base/quoted.h"
#include "engine/base/status_macros.h"

namespace longhaul {
namespace {

bool IsFile(const std::string& path) {
  struct stat found {};
  return stat(path.c_str(), &found) == 0;
}

// Whether a word that names no existing file looks like a file name, not like a question.
bool LooksLikeFile(const std::string& word, std::vector<std::string> files, const std::string& long_document) {
  files.push_back(long_document);
  if (word.find_first_of(" \t\n") != std::string::npos) return false;
  const std::string ending = std::filesystem::path(word).extension();
  return word.find('/') != std::string::npos ||
         (ending.size() > 1 && std::any_of(files.begin(), files.end(), [&](const std::string& file) {
            return std::filesystem::path(file).extension() == ending;
          }));
}

}  // namespace

void AddContexts(CLI::App& command, ContextFlags& flags) {
  CLI::Option* const documents =
      command.add_option("--documents", flags.documents, "files, each read in a row of its own; takes all that follow")
          ->type_name(kMayBeEmpty);
  command.add_option("words", flags.words, "files too; the last one is the question where it is no file")
      ->type_name(kMayBeEmpty);
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

absl::StatusOr<std::optional<std::string>> TakeQuestion(ContextFlags& flags, bool only_files) {
  std::vector<std::string>& from = flags.words.empty() ? flags.documents : flags.words;
  // A single word after --documents is a file, whatever it looks like.
  const bool can_hold = &from == &flags.words || from.size() > 1;
  std::optional<std::string> question;
  if (!only_files && can_hold && !from.empty() && !IsFile(from.back())) {
    question = std::move(from.back());
    from.pop_back();
  }
  std::vector<std::string>& files = flags.documents;
  files.insert(files.end(), flags.words.begin(), flags.words.end());
  flags.words.clear();
  if (question.has_value() && LooksLikeFile(*question, files, flags.long_document)) {
    return absl::InvalidArgumentError(
        absl::StrCat("no file ", Quoted(*question), "; if it is the question, give it with --question"));
  }
  for (const std::string& file : files) {
    if (file.empty()) return absl::InvalidArgumentError("--documents: a name is given and empty");
    if (file.find(' ') != std::string::npos && !IsFile(file)) {
      return absl::InvalidArgumentError(
          absl::StrCat("no file ", Quoted(file), "; the question comes last, or is given with --question"));
    }
  }
  if (!flags.long_document.empty() && !files.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("--long-document: one document at a time, and ", Quoted(files[0]),
                                                   " is another; a question with spaces needs quotes around it"));
  }
  return question;
}

absl::Status FillContexts(const ContextFlags& flags, v1::GenerateRequest& request) {
  v1::Contexts& contexts = *request.mutable_contexts();
  LH_RETURN_IF_ERROR(CheckText("--document-template", flags.document_template));
  contexts.set_document_template(flags.document_template);
  if (!flags.long_document.empty()) {
    LH_ASSIGN_OR_RETURN(std::string text, ReadText("--long-document", flags.long_document));
    v1::LongDocument& document = *contexts.mutable_long_document();
    document.set_text(std::move(text));
    document.set_window_tokens(flags.window);
    if (flags.overlap >= 0) document.set_overlap_tokens(static_cast<uint32_t>(flags.overlap));
    return absl::OkStatus();
  }
  for (const std::string& file : flags.documents) {
    LH_ASSIGN_OR_RETURN(std::string text, ReadText("--documents", file));
    v1::Document& document = *contexts.mutable_documents()->add_documents();
    document.set_id(CheckText("", file).ok() ? file : Printable(file));
    document.set_text(std::move(text));
  }
  return absl::OkStatus();
}

}  // namespace longhaul
