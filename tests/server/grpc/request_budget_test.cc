#include "server/grpc/request_budget.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/overload.h"

namespace longhaul {
namespace {

using Share = RequestBudget::Share;

constexpr char kEverybody[] = "unix:", kOne[] = "ipv4:192.0.2.1:1000", kOneAgain[] = "ipv4:192.0.2.1:2000",
               kOther[] = "ipv4:192.0.2.2:1000";

absl::StatusOr<Share> Take(RequestBudget& budget, int64_t bytes, const char* peer = kEverybody) {
  return budget.Take(budget.HolderOf(peer), bytes, [] { return 2.5; });
}
Share Hold(RequestBudget& budget, int64_t bytes, const char* peer = kEverybody) {
  return budget.Hold(budget.HolderOf(peer), bytes);
}

// Until there is no room.
std::vector<Share> TakeAll(RequestBudget& budget, int64_t bytes, const char* peer = kEverybody) {
  std::vector<Share> shares;
  while (true) {
    auto share = Take(budget, bytes, peer);
    if (!share.ok()) return shares;
    shares.push_back(*std::move(share));
  }
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
  EXPECT_EQ(TakeAll(budget, 0).size(), 256u);
}

TEST(RequestBudget, LargeMessagesLeaveAQuarterToSmallOnes) {
  RequestBudget budget(1 << 20);
  std::vector<Share> shares = TakeAll(budget, 100000);
  EXPECT_EQ(shares.size(), 7u);
  for (int i = 0; i < 5; ++i) {
    auto share = Take(budget, 50000);
    ASSERT_TRUE(share.ok());
    shares.push_back(*std::move(share));
  }
  EXPECT_FALSE(Take(budget, 50000).ok());
}

// Small or large, on however many connections.
TEST(RequestBudget, OneAddressLeavesHalfToOthers) {
  RequestBudget budget(1 << 20);
  std::vector<Share> small = TakeAll(budget, 0, kOne);
  EXPECT_EQ(small.size(), 128u);
  const auto refused = Take(budget, 0, kOneAgain);
  EXPECT_NE(std::string(refused.status().message()).find("of this address, fill their bound of 524288"),
            std::string::npos);
  EXPECT_EQ(OverloadOf(refused.status())->limit, "524288");
  EXPECT_EQ(TakeAll(budget, 0, kOther).size(), 128u);
  small.clear();
  EXPECT_EQ(budget.taken(), 0);
  EXPECT_EQ(TakeAll(budget, 100000, kOne).size(), 3u);  // three quarters of the half
  const std::vector<Share> large = TakeAll(budget, 100000, kOne);
  EXPECT_TRUE(Take(budget, 0, kOneAgain).ok());
  EXPECT_TRUE(Take(budget, 100000, kOther).ok());
}

TEST(RequestBudget, HoldersOfAnAddressAreOneWhileThereIsAny) {
  RequestBudget budget(1 << 20);
  const auto first = budget.HolderOf(kOne);
  EXPECT_EQ(budget.HolderOf(kOneAgain), first);
  for (int i = 0; i < 1000; ++i) EXPECT_NE(budget.HolderOf("ipv4:198.51.100.7:" + std::to_string(i)), first);
  for (int i = 0; i < 250; ++i) {
    EXPECT_NE(budget.HolderOf("ipv4:198.51.100." + std::to_string(i) + ":1"), first);
  }
  EXPECT_EQ(budget.HolderOf(kOne), first);
}

TEST(RequestBudget, OneMessageAloneMayBeOfAnySize) {
  RequestBudget budget(1000);
  auto alone = Take(budget, 1 << 30);
  ASSERT_TRUE(alone.ok());
  EXPECT_FALSE(Take(budget, 0).ok());
}

TEST(RequestBudget, WhatIsHeldCountsWhetherThereIsRoomOrNot) {
  RequestBudget budget(1 << 20);
  Share held = Hold(budget, 2 << 20);
  EXPECT_EQ(budget.taken(), 2 << 20);
  EXPECT_FALSE(Take(budget, 0).ok());
  held = Hold(budget, 1000);
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
