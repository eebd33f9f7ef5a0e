#include "server/request_budget.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace longhaul {
namespace {

using Share = RequestBudget::Share;

absl::StatusOr<Share> Take(RequestBudget& budget, int64_t bytes) {
  return budget.Take(bytes, [] { return 2.5; });
}

TEST(RequestBudget, GivesWhatThereIsAndTakesItBack) {
  RequestBudget budget(1 << 20);
  auto large = Take(budget, 700000);
  ASSERT_TRUE(large.ok());
  const auto refused = Take(budget, 100000);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(std::string(refused.status().message()).find("1048576"), std::string::npos);
  const std::optional<Overload> overload = OverloadOf(refused.status());
  ASSERT_TRUE(overload.has_value());
  EXPECT_EQ(overload->reason, "MESSAGE_MEMORY");
  EXPECT_EQ(overload->retry_after, 2.5);
  large->Release();
  EXPECT_EQ(budget.taken(), 0);
  EXPECT_TRUE(Take(budget, 100000).ok());
  EXPECT_EQ(budget.taken(), 0);
}

TEST(RequestBudget, SmallMessagesCountAsCalls) {
  RequestBudget budget(1 << 20);
  std::vector<Share> shares;
  while (true) {
    auto share = Take(budget, 0);
    if (!share.ok()) break;
    shares.push_back(*std::move(share));
  }
  EXPECT_EQ(shares.size(), 256u);
}

TEST(RequestBudget, LargeMessagesLeaveAQuarterToSmallOnes) {
  RequestBudget budget(1 << 20);
  std::vector<Share> shares;
  while (true) {
    auto share = Take(budget, 100000);
    if (!share.ok()) break;
    shares.push_back(*std::move(share));
  }
  EXPECT_EQ(shares.size(), 7u);
  for (int i = 0; i < 5; ++i) {
    auto share = Take(budget, 50000);
    ASSERT_TRUE(share.ok());
    shares.push_back(*std::move(share));
  }
  EXPECT_FALSE(Take(budget, 50000).ok());
}

TEST(RequestBudget, OneMessageAloneMayBeOfAnySize) {
  RequestBudget budget(1000);
  auto alone = Take(budget, 1 << 30);
  ASSERT_TRUE(alone.ok());
  EXPECT_FALSE(Take(budget, 0).ok());
}

TEST(RequestBudget, WhatIsHeldCountsWhetherThereIsRoomOrNot) {
  RequestBudget budget(1 << 20);
  Share held = budget.Hold(2 << 20);
  EXPECT_EQ(budget.taken(), 2 << 20);
  EXPECT_FALSE(Take(budget, 0).ok());
  held = budget.Hold(1000);
  EXPECT_EQ(budget.taken(), 1000);
  Share moved = std::move(held);
  held.Release();
  EXPECT_EQ(budget.taken(), 1000);
  moved.Release();
  moved.Release();
  EXPECT_EQ(budget.taken(), 0);
}

TEST(RequestBudget, TheLimitChangesForWhoComesLater) {
  RequestBudget budget(1 << 20);
  auto large = Take(budget, 700000);
  budget.SetLimit(10000);
  EXPECT_FALSE(Take(budget, 0).ok());
  budget.SetLimit(10 << 20);
  EXPECT_TRUE(Take(budget, 1 << 20).ok());
}

}  // namespace
}  // namespace longhaul
