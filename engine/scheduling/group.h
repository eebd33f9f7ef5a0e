#pragma once

#include <cstdint>
#include <vector>

#include "engine/decoding/sampler.h"
#include "engine/scheduling/sequence.h"

namespace longhaul {

// Rows that are admitted, decoded and freed as one and share their next token. A plain request is a group of one row.
struct Group {
  std::vector<Sequence> rows;
  int64_t capacity = 0;             // tokens that each row may come to hold: prompt and answer
  SamplerInput* sampler = nullptr;  // what to make of the logits of the last tokens; null: nothing. Not owned
  int64_t score_from = 0;           // above 0: tokens score_from.. of each row are scored instead of sampled
  int top_scores = 0;               // how many top tokens are reported with each score
  bool paused = false;              // its reader has no room: not scheduled until it has

  // Tokens of a row that are still to be computed. A text that is scored needs no logits of its last token.
  int64_t Remaining(const Sequence& row) const {
    return static_cast<int64_t>(row.tokens.size()) - (score_from > 0 ? 1 : 0) - row.n_computed;
  }
  int64_t Remaining() const {
    int64_t n = 0;
    for (const Sequence& row : rows) n += Remaining(row);
    return n;
  }
  int64_t BlocksNeeded() const {
    int64_t n = 0;
    for (const Sequence& row : rows) n += row.BlocksNeeded(capacity);
    return n;
  }
};

}  // namespace longhaul
