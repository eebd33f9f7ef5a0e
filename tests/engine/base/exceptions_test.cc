#include "engine/base/exceptions.h"

#include <gtest/gtest.h>

#include <new>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include "engine/base/overload.h"

namespace longhaul {
namespace {

TEST(CatchExceptions, GivesBackWhatTheWorkReturns) {
  EXPECT_TRUE(CatchExceptions([] { return absl::OkStatus(); }).ok());
  EXPECT_EQ(CatchExceptions([] { return absl::NotFoundError("x"); }), absl::NotFoundError("x"));
}

TEST(CatchExceptions, NoMemoryIsAnExhaustedResourceAndSaysWhenToTryAgain) {
  const absl::Status status = CatchExceptions([]() -> absl::Status { throw std::bad_alloc(); });
  EXPECT_EQ(status, OutOfMemoryError());
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(RetryAfterOf(status), 1);
  EXPECT_FALSE(OverloadOf(status).has_value());
  const auto too_long = []() -> absl::Status {
    std::vector<int>().reserve(std::vector<int>().max_size() + 1);
    return absl::OkStatus();
  };
  EXPECT_EQ(CatchExceptions(too_long), OutOfMemoryError());
}

TEST(CatchExceptions, OthersKeepTheirWords) {
  const absl::Status missing = CatchExceptions([]() -> absl::Status {
    throw std::system_error(std::make_error_code(std::errc::resource_unavailable_try_again), "no thread");
  });
  EXPECT_EQ(missing.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(std::string(missing.message()).find("no thread: "), 0u);
  EXPECT_EQ(CatchExceptions([]() -> absl::Status { throw std::runtime_error("odd"); }), absl::InternalError("odd"));
  EXPECT_FALSE(CatchExceptions([]() -> absl::Status { throw 7; }).ok());
}

}  // namespace
}  // namespace longhaul
