#include "engine/base/overload.h"

#include <gtest/gtest.h>

#include <string>

namespace longhaul {
namespace {

TEST(Overload, TravelsInAStatus) {
  const absl::Status status = OverloadError("the queue is full", {"QUEUE_FULL", "--max-queue", "4", 2.5});
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(std::string(status.message()), "the queue is full; try again in about 2.5 s");
  const auto overload = OverloadOf(status);
  ASSERT_TRUE(overload.has_value());
  EXPECT_EQ(overload->reason, "QUEUE_FULL");
  EXPECT_EQ(overload->flag, "--max-queue");
  EXPECT_EQ(overload->limit, "4");
  EXPECT_EQ(overload->retry_after, 2.5);
  EXPECT_EQ(RetryAfterOf(status), 2.5);
}

TEST(TryAgain, IsUnavailableAndSaysWhen) {
  const absl::Status status = TryAgainError("the model is being loaded");
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(std::string(status.message()), "the model is being loaded");
  EXPECT_EQ(RetryAfterOf(status), 1);
  EXPECT_FALSE(OverloadOf(status).has_value());
}

TEST(Overload, IsInNoOtherStatus) {
  EXPECT_FALSE(RetryAfterOf(absl::UnavailableError("gone")).has_value());
  EXPECT_FALSE(OverloadOf(absl::ResourceExhaustedError("full")).has_value());
  EXPECT_FALSE(OverloadOf(absl::OkStatus()).has_value());
}

}  // namespace
}  // namespace longhaul
