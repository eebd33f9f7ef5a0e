#include "engine/base/status_macros.h"

#include <gtest/gtest.h>

#include <memory>

namespace longhaul {
namespace {

absl::Status Check(bool fails, int& reached) {
  LH_RETURN_IF_ERROR(fails ? absl::NotFoundError("gone") : absl::OkStatus());
  ++reached;
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<int>> Make(int value) {
  if (value < 0) return absl::OutOfRangeError("negative");
  return std::make_unique<int>(value);
}

absl::StatusOr<int> Sum(int a, int b) {
  LH_ASSIGN_OR_RETURN(std::unique_ptr<int> first, Make(a));  // moves what cannot be copied
  LH_ASSIGN_OR_RETURN(const auto second, Make(b));
  return *first + *second;
}

TEST(StatusMacros, ReturnAtTheFirstErrorAndOnlyThere) {
  int reached = 0;
  EXPECT_EQ(Check(true, reached).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(reached, 0);
  EXPECT_TRUE(Check(false, reached).ok());
  EXPECT_EQ(reached, 1);
}

TEST(StatusMacros, AssignTheValueOrReturnTheStatus) {
  EXPECT_EQ(Sum(2, 3).value(), 5);
  EXPECT_EQ(Sum(-1, 3).status().code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(Sum(2, -1).status().code(), absl::StatusCode::kOutOfRange);
}

}  // namespace
}  // namespace longhaul
