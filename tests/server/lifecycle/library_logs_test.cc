#include "server/lifecycle/library_logs.h"

#include <gmock/gmock.h>
#include <google/protobuf/stubs/logging.h>
#include <grpc/support/log.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "engine/base/log.h"
#include "longhaul/v1/inference.pb.h"

namespace longhaul {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Optional;

TEST(LogThrottle, LetsABurstThroughAndThenOneASecond) {
  LogThrottle throttle;
  LogThrottle::TimePoint now{};
  for (int i = 0; i < 10; ++i) EXPECT_THAT(throttle.Admit("a.cc", 1, now), Optional(0)) << i;
  for (int i = 0; i < 7; ++i) EXPECT_EQ(throttle.Admit("a.cc", 1, now), std::nullopt);
  now += milliseconds(999);
  EXPECT_EQ(throttle.Admit("a.cc", 1, now), std::nullopt);
  now += milliseconds(1);
  EXPECT_THAT(throttle.Admit("a.cc", 1, now), Optional(8));
  EXPECT_EQ(throttle.Admit("a.cc", 1, now), std::nullopt);
  now += milliseconds(3'600'000);
  for (int i = 0; i < 10; ++i) EXPECT_THAT(throttle.Admit("a.cc", 1, now), Optional(i == 0 ? 1 : 0)) << i;
  EXPECT_EQ(throttle.Admit("a.cc", 1, now), std::nullopt);
}

TEST(LogThrottle, APlaceThatFloodsSilencesNoOther) {
  LogThrottle throttle;
  const LogThrottle::TimePoint now{};
  for (int i = 0; i < 100; ++i) throttle.Admit("a.cc", 1, now);
  EXPECT_THAT(throttle.Admit("a.cc", 2, now), Optional(0));
  EXPECT_THAT(throttle.Admit("b.cc", 1, now), Optional(0));
}

class LibraryLogsTest : public ::testing::Test {
 protected:
  LibraryLogsTest() {
    TakeOverLibraryLogs();
    gpr_set_log_verbosity(GPR_LOG_SEVERITY_ERROR);  // until grpc_init there is none
    testing::internal::CaptureStderr();
  }

  static std::string Logged() {
    FlushLog();
    return testing::internal::GetCapturedStderr();
  }
};

TEST_F(LibraryLogsTest, AStringThatIsNotUtf8IsAWarningATenthOfTheTime) {
  v1::GenerateRequest request;
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(request.ParseFromString("\x0a\x03\x0a\x01\xff"));
  const std::string logged = Logged();
  EXPECT_THAT(logged, HasSubstr(" warning protobuf, "));
  EXPECT_THAT(logged, HasSubstr("invalid UTF-8"));
  EXPECT_THAT(logged, Not(HasSubstr("libprotobuf")));  // its own form
  const auto lines = std::count(logged.begin(), logged.end(), '\n');
  EXPECT_GE(lines, 10);
  EXPECT_LE(lines, 100 / 5);
}

TEST_F(LibraryLogsTest, ErrorsOfGrpcAreWarningsOnOneLine) {
  gpr_log("/build/src/core/file.cc", 12, GPR_LOG_SEVERITY_ERROR, "peer said %s", "x\ny\x1b[2J");
  EXPECT_THAT(Logged(), HasSubstr(" warning gRPC, file.cc:12: peer said x\\ny\\x1b[2J\n"));
}

TEST_F(LibraryLogsTest, TheVerbosityOfGrpcStaysItsOwn) {
  gpr_log("file.cc", 1, GPR_LOG_SEVERITY_INFO, "hidden");
  gpr_set_log_verbosity(GPR_LOG_SEVERITY_DEBUG);
  for (int i = 0; i < 20; ++i) gpr_log("file.cc", 2, GPR_LOG_SEVERITY_DEBUG, "asked for %d", i);
  gpr_set_log_verbosity(GPR_LOG_SEVERITY_ERROR);
  const std::string logged = Logged();
  EXPECT_THAT(logged, Not(HasSubstr("hidden")));
  EXPECT_THAT(logged, HasSubstr(" info gRPC, file.cc:2: asked for 19\n"));
}

}  // namespace
}  // namespace longhaul
