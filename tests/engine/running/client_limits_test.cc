#include "engine/running/client_limits.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "engine/base/overload.h"

namespace longhaul {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

void ExpectRefused(const absl::Status& status, const ::testing::Matcher<std::string>& message, double retry_after) {
  EXPECT_THAT(std::string(status.message()), message);
  const auto overload = OverloadOf(status);
  ASSERT_TRUE(overload.has_value()) << status;
  EXPECT_EQ(overload->reason, "CLIENT_LIMIT");
  EXPECT_EQ(overload->retry_after, retry_after);
}

TEST(ClientLimits, OneClientHasSoManyRequestsAndOthersTheirOwn) {
  ClientLimits limits(2, 0);
  EXPECT_TRUE(limits.Begin("a", 3).ok());
  EXPECT_TRUE(limits.Begin("a", 3).ok());
  ExpectRefused(limits.Begin("a", 3),
                AllOf(HasSubstr("'a' has 2 requests"), HasSubstr("limit is 2"), HasSubstr("--max-client-requests")), 3);
  EXPECT_TRUE(limits.Begin("b", 3).ok());
  limits.End("a");
  EXPECT_TRUE(limits.Begin("a", 3).ok());
  // What it waits for is none of the queue's.
  ExpectRefused(limits.Begin("a", 0.1), HasSubstr("'a'"), 1);
}

TEST(ClientLimits, OneClientHasSoManyTokensInTheQueue) {
  ClientLimits limits(0, 100);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(limits.Begin("a", 1).ok());
  EXPECT_TRUE(limits.Begin("b", 1).ok());
  EXPECT_TRUE(limits.Enqueue("a", 60, 1).ok());
  EXPECT_TRUE(limits.Enqueue("a", 40, 1).ok());
  ExpectRefused(limits.Enqueue("a", 1, 0.5),
                AllOf(HasSubstr("has 100 tokens"), HasSubstr("the 1 of"), HasSubstr("limit, 100"),
                      HasSubstr("--max-client-queued-tokens")),
                0.5);
  EXPECT_TRUE(limits.Enqueue("b", 70, 1).ok());
  EXPECT_EQ(limits.queued_tokens(), 170);
  limits.LeaveQueue("a", 40);
  EXPECT_TRUE(limits.Enqueue("a", 1, 1).ok());
  EXPECT_EQ(limits.queued_tokens(), 131);
}

TEST(ClientLimits, AnEmptyQueueTakesOneRequestOfAnySize) {
  ClientLimits limits(0, 100);
  EXPECT_TRUE(limits.Begin("a", 1).ok());
  EXPECT_TRUE(limits.Enqueue("a", 5000, 1).ok());
  EXPECT_FALSE(limits.Enqueue("a", 1, 1).ok());
}

TEST(ClientLimits, WithoutLimitsEverythingIsCountedAndNothingRefused) {
  ClientLimits limits(0, 0);
  for (int i = 0; i < 1000; ++i) {
    EXPECT_TRUE(limits.Begin("a", 1).ok());
    EXPECT_TRUE(limits.Enqueue("a", 1000, 1).ok());
  }
  EXPECT_EQ(limits.queued_tokens(), 1000000);
}

TEST(ClientLimits, ForgetsClientsThatHaveNothing) {
  ClientLimits limits(1, 1);
  for (int i = 0; i < 100; ++i) {
    const std::string client = std::to_string(i);
    EXPECT_TRUE(limits.Begin(client, 1).ok());
    EXPECT_FALSE(limits.Begin(client, 1).ok());
    limits.End(client);
  }
  EXPECT_EQ(limits.clients(), 0u);
}

}  // namespace
}  // namespace longhaul
