#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "client/evaluation/repetition.h"

namespace longhaul {

// One finished request of an evaluation.
struct Measurement {
  std::string position;  // as it was asked for; documents: or an NBCE setting
  int64_t length = 0;    // N, tokens; documents: how many
  Repetition sample;

  // What the server made of it.
  std::string resolved;  // every parameter filled in
  int64_t reach = 0;     // 0: no bound
  bool past_recommended = false, refit = false;
  std::string engine_fingerprint;  // not in the file: the same for all of it
  double seconds = 0;
  int64_t tokens = 0;  // of the prompt, of all rows together; in the file of documents only

  double value = 0;                  // tail loss: nat per token; repeated: share of right tokens; else 1 or 0
  std::vector<double> losses;        // of each scored token, nat, to 5 digits after the point
  std::string hits;                  // repeated: of each scored token, '1' where the most probable token is the text's
  std::optional<double> first_copy;  // repeated: share of right tokens in the first copy
  std::string key, answer;           // passkey, documents
  std::optional<double> cited;       // NBCE: 1 where most tokens came from the right document, else 0
};

// A mode that the server refused at a length, in its words.
struct Refused {
  std::string position;
  int64_t length = 0;
  std::string message;
};

}  // namespace longhaul
