#include "server/request_budget.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

namespace longhaul {
namespace {

TEST(RequestBudget, GivesWhatThereIsAndTakesItBack) {
  RequestBudget budget(1 << 20);
  auto large = budget.Take(1000000);
  ASSERT_TRUE(large.ok());
  const auto refused = budget.Take(100000);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(std::string(refused.status().message()).find("1048576"), std::string::npos);
  large->reset();
  EXPECT_EQ(budget.taken(), 0);
  EXPECT_TRUE(budget.Take(100000).ok());
  EXPECT_EQ(budget.taken(), 0);
}

TEST(RequestBudget, SmallMessagesCountAsCalls) {
  RequestBudget budget(1 << 20);
  std::vector<std::shared_ptr<void>> shares;
  while (true) {
    auto share = budget.Take(0);
    if (!share.ok()) break;
    shares.push_back(*share);
  }
  EXPECT_EQ(shares.size(), 256u);
}

}  // namespace
}  // namespace longhaul
