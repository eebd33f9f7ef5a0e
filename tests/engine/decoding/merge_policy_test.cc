#include "engine/decoding/merge_policy.h"

#include <gtest/gtest.h>

#include <optional>

namespace longhaul {
namespace {

TEST(MergePolicy, TriesTheSurestRowWhereTheMeanLeavesNothingAndItsOwnLogitsWhereNothingMayBeDrawn) {
  const MergePolicy policy;
  EXPECT_EQ(NextSource(policy, MergeSource::kMerged, MergeOutcome::kNothingLeft), MergeSource::kMinEntropy);
  EXPECT_EQ(NextSource(policy, MergeSource::kMerged, MergeOutcome::kNothingDrawn), MergeSource::kChosenRow);
  EXPECT_EQ(NextSource(policy, MergeSource::kMinEntropy, MergeOutcome::kNothingDrawn), MergeSource::kChosenRow);
}

TEST(MergePolicy, EverySourceIsTriedOnceAtMost) {
  for (const auto source : {MergeSource::kMerged, MergeSource::kMinEntropy, MergeSource::kChosenRow}) {
    for (const auto other : {MergeSource::kMerged, MergeSource::kMinEntropy, MergeSource::kChosenRow}) {
      const MergePolicy policy{.params = {}, .if_nothing_left = source, .if_nothing_drawn = other};
      for (const auto outcome : {MergeOutcome::kNothingLeft, MergeOutcome::kNothingDrawn}) {
        std::optional<MergeSource> at = MergeSource::kMerged;
        int tries = 0;
        while (at.has_value() && ++tries < 10) at = NextSource(policy, *at, outcome);
        EXPECT_LE(tries, 3);
      }
    }
  }
  EXPECT_EQ(NextSource(MergePolicy(), MergeSource::kChosenRow, MergeOutcome::kNothingDrawn), std::nullopt);
}

TEST(MergePolicy, MayTryNothing) {
  const MergePolicy policy{.params = {}, .if_nothing_left = std::nullopt, .if_nothing_drawn = std::nullopt};
  EXPECT_EQ(NextSource(policy, MergeSource::kMerged, MergeOutcome::kNothingLeft), std::nullopt);
  EXPECT_EQ(NextSource(policy, MergeSource::kMerged, MergeOutcome::kNothingDrawn), std::nullopt);
}

}  // namespace
}  // namespace longhaul
