#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "longhaul/v1/inference.pb.h"

namespace CLI {
class App;
}

// The flags that name documents to be read beside a prompt.
namespace longhaul {

struct ContextFlags {
  std::vector<std::string> documents;  // files
  std::vector<std::string> words;      // files, and last a question
  std::string long_document;           // a file
  uint32_t window = 0;
  int64_t overlap = -1;  // negative: not given
  std::string document_template;
};

// --documents, --long-document, --window, --overlap, --document-template and the words that stand alone.
void AddContexts(CLI::App& command, ContextFlags& flags);

// Parts files and question. The words may name files too and the last one is the question where it is no file
// (`--documents a b "Why?"` takes it along); with `only_files` there is none among them. INVALID_ARGUMENT when the last
// one looks like a file that is missing: without blanks, with a '/' or the ending of another file.
absl::StatusOr<std::optional<std::string>> TakeQuestion(ContextFlags& flags, bool only_files);

// Reads the files into `request`, each as a document whose id is the file's name. INVALID_ARGUMENT names the flag and
// the file.
absl::Status FillContexts(const ContextFlags& flags, v1::GenerateRequest& request);

}  // namespace longhaul
