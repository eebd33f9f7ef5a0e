#include "server/request_budget.h"

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace longhaul {
namespace {

absl::StatusOr<std::shared_ptr<void>> Take(RequestBudget& budget, int64_t bytes) {
  return budget.Take(bytes, [] { return 2.5; });
}

TEST(RequestBudget, GivesWhatThereIsAndTakesItBack) {
  RequestBudget budget(1 << 20);
  auto large = Take(budget, 1000000);
  ASSERT_TRUE(large.ok());
  const auto refused = Take(budget, 100000);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(std::string(refused.status().message()).find("1048576"), std::string::npos);
  const std::optional<Overload> overload = OverloadOf(refused.status());
  ASSERT_TRUE(overload.has_value());
  EXPECT_EQ(overload->reason, "MESSAGE_MEMORY");
  EXPECT_EQ(overload->retry_after, 2.5);
  large->reset();
  EXPECT_EQ(budget.taken(), 0);
  EXPECT_TRUE(Take(budget, 100000).ok());
  EXPECT_EQ(budget.taken(), 0);
}

TEST(RequestBudget, SmallMessagesCountAsCalls) {
  RequestBudget budget(1 << 20);
  std::vector<std::shared_ptr<void>> shares;
  while (true) {
    auto share = Take(budget, 0);
    if (!share.ok()) break;
    shares.push_back(*share);
  }
  EXPECT_EQ(shares.size(), 256u);
}

}  // namespace
}  // namespace longhaul
