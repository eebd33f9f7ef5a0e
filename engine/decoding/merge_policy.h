#pragma once

#include <optional>

#include "engine/decoding/nbce_combiner.h"

namespace longhaul {

// The logits that a group of several rows draws its token from.
enum class MergeSource {
  kMerged,      // all rows', merged as the policy's parameters say
  kMinEntropy,  // the same with NbcePooling::kMinEntropy
  kChosenRow,   // the chosen row's own
};

// Why no token was drawn from a source.
enum class MergeOutcome {
  kNothingLeft,  // the merge dropped every token
  kNothingDrawn  // every token that it kept is forbidden
};

// How the rows of a group are merged into one distribution, and what to draw from where that fails. Data: every backend
// executes it where the logits are.
struct MergePolicy {
  NbceParams params;
  std::optional<MergeSource> if_nothing_left = MergeSource::kMinEntropy;  // none: no token is drawn
  // For example where only an end token was kept and it is forbidden. None: no token is drawn.
  std::optional<MergeSource> if_nothing_drawn = MergeSource::kChosenRow;
};

// The source to try after `tried`; none: no token is drawn. Sources are tried in the order of MergeSource, each at most
// once. A pure function; any thread.
inline std::optional<MergeSource> NextSource(const MergePolicy& policy, MergeSource tried, MergeOutcome outcome) {
  const auto& next = outcome == MergeOutcome::kNothingLeft ? policy.if_nothing_left : policy.if_nothing_drawn;
  return next.has_value() && *next > tried ? next : std::nullopt;
}

}  // namespace longhaul
