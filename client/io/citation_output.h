#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "client/io/output.h"
#include "longhaul/v1/inference.pb.h"

// How the command line prints an answer that comes from documents.
namespace longhaul {

// Prints an answer as it arrives, with the documents that it comes from: in a colour each on a terminal, else with
// "[NAME] " where the document changes. A document is called by its id, a window of a long one "bytes A to B".
class CitedAnswer : public AnswerPrinter {
 public:
  explicit CitedAnswer(const v1::GenerateRequest& request);
  void Start(const v1::Started& started) override;
  void Print(const v1::Chunk& chunk) override;
  void End(bool whole) override;
  // A table: the cited documents, their share of the answer's tokens, and the mean entropy of their rows.
  void PrintDetails(const v1::Finished& finished) const override;

 private:
  const bool colours_;
  std::vector<std::string> names_;
  std::optional<uint32_t> current_;
  bool has_printed_ = false;
};

}  // namespace longhaul
