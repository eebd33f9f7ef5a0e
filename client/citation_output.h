#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "longhaul/v1/inference.pb.h"

// How the command line prints an answer that comes from documents.
namespace longhaul {

// What a document is called: its id; "bytes A to B" for a window of a long one.
std::vector<std::string> DocumentNames(const v1::GenerateRequest& request, const v1::Started& started);

// Prints an answer on standard output as it arrives, with the documents that it comes from: in a colour each on a
// terminal, else with "[NAME] " where the document changes.
class CitedAnswer {
 public:
  CitedAnswer();
  void SetNames(std::vector<std::string> names) { names_ = std::move(names); }
  void Print(const v1::Chunk& chunk);
  // Nothing more will come: sets the terminal back, and ends the line unless nothing of a failed answer stands on it.
  void End(bool whole);

 private:
  const bool colours_;
  std::vector<std::string> names_;
  std::optional<uint32_t> current_;
  bool has_printed_ = false;
};

// A table on standard error: the documents that spoke, their share of the answer's tokens, and how sure their rows
// were.
void PrintDocuments(const std::vector<std::string>& names, const v1::Finished& finished);

}  // namespace longhaul
