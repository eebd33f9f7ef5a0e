#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/backend/batch.h"
#include "engine/scheduling/sequence.h"

namespace longhaul {

struct Group;

// Tells what a group draws; the state of its request implements it. Engine thread.
class DrawSource {
 public:
  virtual ~DrawSource() = default;

  // What the group draws next, after `n_ahead` tokens (0 or 1) that steps in flight draw for it. Appends to
  // batch.counts what the result names there.
  virtual BatchDraw NextDraw(const Group& group, int64_t n_ahead, Batch& batch) const = 0;
};

// Rows that are admitted, decoded, preempted and freed as one and share their next token: one of a request's answers. A
// plain request is a group of one row.
struct Group {
  std::vector<Sequence> rows;
  int64_t max_new_tokens = 0;         // that each row may gain beyond its prompt
  const DrawSource* draws = nullptr;  // what to draw from the logits of the last tokens; null: nothing. Not owned
  int64_t score_from = 0;             // above 0: tokens score_from.. of each row are scored, and none is drawn
  int32_t top_scores = 0;             // how many top tokens are reported with each score
  bool paused = false;                // its stream has no room: not scheduled meanwhile
  bool prompt_read = false;           // its prompt has been prefilled once: what follows is decode, or recomputed
  size_t sample = 0;                  // which of its request's answers it makes

  std::string client;    // who shares fairly with others
  int32_t priority = 0;  // larger first
  uint64_t scope = 0;    // whose cached blocks it may use

  // For the scheduler.
  uint64_t order = 0;                       // of arrival
  double queued_since = 0;                  // seconds on the scheduler's clock
  std::optional<double> not_fitting_since;  // when it was first in the queue and did not fit
  std::optional<int64_t> cached_tokens;     // of all rows, that its first admission found in the prefix cache
  int64_t preemptions = 0;
  int64_t n_in_flight = 0;  // steps that hold it and have not been collected; while there are any it keeps its blocks
  int64_t n_drawn = 0;      // tokens that those draw
  int32_t drawn_by = -1;    // its index in the last submitted step that draws for it: see DrawnBy
  uint64_t generation = 0;  // changes when it is removed: parts of steps of an older one are void

  // Tokens of a row that are still to be submitted, those that steps in flight draw included. A text that is scored
  // needs no logits of its last token.
  int64_t Remaining(const Sequence& row) const {
    return static_cast<int64_t>(row.tokens.size()) + n_drawn - (score_from > 0 ? 1 : 0) - row.n_submitted;
  }
  // The same of all rows.
  int64_t Remaining() const {
    int64_t n = 0;
    for (const Sequence& row : rows) n += Remaining(row);
    return n;
  }
  // Tokens of all rows that are known and not computed yet.
  int64_t Uncomputed() const {
    int64_t n = 0;
    for (const Sequence& row : rows) {
      n += static_cast<int64_t>(row.tokens.size()) - (score_from > 0 ? 1 : 0) - row.n_computed;
    }
    return n;
  }
  // Whether one token of each row is left to submit, as in decode.
  bool Decodes() const { return Remaining() == static_cast<int64_t>(rows.size()); }

  // Whether it has all tokens that it may gain once the steps in flight have been collected.
  bool AwaitsItsEnd() const {
    if (n_drawn == 0) return false;
    const Sequence& row = rows.front();
    return static_cast<int64_t>(row.tokens.size()) - row.prompt_tokens + n_drawn >= max_new_tokens;
  }

  // The length up to which a row may grow.
  int64_t Capacity(const Sequence& row) const { return row.prompt_tokens + max_new_tokens; }

  // Blocks that it takes at its full length, and those that it holds.
  int64_t MaxBlocks() const {
    int64_t n = 0;
    for (const Sequence& row : rows) n += row.BlocksNeeded(Capacity(row), Capacity(row));
    return n;
  }
  int64_t BlocksHeld() const {
    int64_t n = 0;
    for (const Sequence& row : rows) n += row.blocks_held();
    return n;
  }
  // Tokens of all rows.
  int64_t RowTokens() const {
    int64_t n = 0;
    for (const Sequence& row : rows) n += static_cast<int64_t>(row.tokens.size());
    return n;
  }
};

}  // namespace longhaul
