#pragma once

#include <span>

#include "engine/base/token.h"

namespace longhaul {

// What NBCE computes from one row alone: its normaliser, its top-p cut, its entropy.
struct NbceRow {
  // Some token has a probability, and no logit is NaN or +infinity. Of a row that is not usable nothing else holds.
  bool usable = false;
  float log_sum_exp = 0;
  // Kept are the logits above `cut` and, of those equal to it, the ids from `first_at_cut` on.
  float cut = 0;
  TokenId first_at_cut = 0;
  // -sum p ln p over the kept tokens, nats; p is of the whole row, not renormalised. 0 for a row of one certain token.
  float entropy = 0;

  bool Keeps(TokenId id, float logit) const { return logit > cut || (logit == cut && id >= first_at_cut); }
};

// Reads a row of logits [vocabulary]. Tokens are dropped from the least probable on (of equal ones the lowest id
// first, as a stable ascending sort has them) while all that are dropped weigh no more than 1 - top_p; the most
// probable one stays (kexue.fm 9632). top_p in (0, 1]; 1 keeps every token. A pure function of the row,
// whose time does not depend much on what it holds: nothing is sorted but the last few tokens around the cut. Any
// thread; takes memory on a thread's first call.
NbceRow ReadNbceRow(std::span<const float> logits, float top_p);

}  // namespace longhaul
