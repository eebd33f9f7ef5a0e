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

// What became of an attempt to draw from a source.
enum class MergeOutcome {
  kNothingLeft,  // the merge dropped every token
  kNothingDrawn  // what it kept is forbidden
};

// How the rows of a group become one distribution, and what is tried where that leaves nothing: data that every backend
// executes where the logits are.
struct MergePolicy {
  NbceParams params;
  std::optional<MergeSource> if_nothing_left = MergeSource::kMinEntropy;  // none: no token is drawn
  // For example where the end of the text alone was kept, and may not be drawn. None: no token is drawn.
  std::optional<MergeSource> if_nothing_drawn = MergeSource::kChosenRow;
};

// What is tried after `tried`; none: no token is drawn. A source is tried once. A pure function; any thread.
inline std::optional<MergeSource> NextSource(const MergePolicy& policy, MergeSource tried, MergeOutcome outcome) {
  const auto& next = outcome == MergeOutcome::kNothingLeft ? policy.if_nothing_left : policy.if_nothing_drawn;
  return next.has_value() && *next > tried ? next : std::nullopt;
}

}  // namespace longhaul
