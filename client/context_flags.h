#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "longhaul/v1/inference.pb.h"

namespace CLI {
class App;
}

// The flags of documents that are read beside a prompt.
namespace longhaul {

struct ContextFlags {
  std::vector<std::string> documents;  // files
  std::string long_document;           // a file
  uint32_t window = 0;
  int64_t overlap = -1;  // negative: not given
  std::string document_template;
};

// --documents, --long-document, --window, --overlap, --document-template.
void AddContexts(CLI::App& command, ContextFlags& flags);

// Reads the files into `request`, each a document of its name. INVALID_ARGUMENT names the flag and the file.
absl::Status FillContexts(const ContextFlags& flags, v1::GenerateRequest& request);

}  // namespace longhaul
