#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "client/evaluation/shelf.h"
#include "client/evaluation/task.h"

namespace longhaul {

// Parameters of NBCE by the name that stands in the result: "nbce", "nbce:beta=0".
using NbceSetting = std::pair<std::string, v1::Nbce>;

// Settings joined by commas, each "default" or NAME=VALUE[:NAME=VALUE...] of beta, eta, keep and pooling; what is not
// named is the server's default. Empty: none. INVALID_ARGUMENT names the piece.
absl::StatusOr<std::vector<NbceSetting>> ParseNbceSettings(const std::string& text);

struct DocumentsOptions {
  int64_t questions = 50;
  int64_t seed = 0;
  std::vector<NbceSetting> nbce;
};

// Questions over invented documents, one of which holds the answer. The length of a cell is the number of documents.
// Its mode is a position mode, which reads all of them in one chat prompt (one document: the right one alone, the
// ceiling; none: the floor), or an NBCE setting, which reads each in a row of its own. Repetition::trial is the
// question; it is the same in every cell, and so are its documents in all cells of a length.
class Documents : public Task {
 public:
  Documents(DocumentsOptions options, const std::vector<int64_t>& lengths);

  absl::Status CheckLength(int64_t length) const override;
  std::vector<Repetition> Repetitions() const override;
  absl::Status Run(Client& client, const v1::PositionMode& position, const OnProgress& on_progress,
                   Measurement& done) const override;
  std::string Describe(const Measurement& done) const override;

  // A digest of the shelf's seed and templates, by which result files tell shelves apart.
  std::string Sha256() const;

  // Whether the answer stands in the generated text, in whatever case.
  static bool IsAnswered(const std::string& generated, const std::string& answer);

  // The document that most tokens came from, the first of equals.
  static int64_t Cited(const v1::Finished& finished);

 private:
  const DocumentsOptions options_;
  std::vector<ShelfDocument> shelf_;
};

}  // namespace longhaul
