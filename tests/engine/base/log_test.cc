#include "engine/base/log.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <thread>

namespace longhaul {
namespace {

TEST(Log, EachLevelShowsItselfAndWhatIsWorse) {
  const struct {
    const char* name;
    LogLevel level;
  } levels[] = {{"debug", LogLevel::kDebug},
                {"info", LogLevel::kInfo},
                {"warning", LogLevel::kWarning},
                {"error", LogLevel::kError}};
  for (const auto& chosen : levels) {
    ASSERT_TRUE(SetLogLevel(chosen.name).ok());
    for (const auto& other : levels) EXPECT_EQ(LogEnabled(other.level), other.level >= chosen.level) << chosen.name;
  }
  ASSERT_TRUE(SetLogLevel("off").ok());
  EXPECT_FALSE(LogEnabled(LogLevel::kError));
  ASSERT_TRUE(SetLogLevel("info").ok());
}

TEST(Log, AnotherLevelIsRefusedAndChangesNothing) {
  ASSERT_TRUE(SetLogLevel("error").ok());
  for (const char* name : {"", "INFO", "warn", "trace"}) {
    EXPECT_EQ(SetLogLevel(name).code(), absl::StatusCode::kInvalidArgument) << name;
  }
  EXPECT_FALSE(LogEnabled(LogLevel::kWarning));
  ASSERT_TRUE(SetLogLevel("info").ok());
}

TEST(Log, ALineIsWrittenAsItIs) {
  testing::internal::CaptureStderr();
  LogWarning("100% {} of ", 3, " rows");
  LogDebug("hidden");
  FlushLog();
  const std::string written = testing::internal::GetCapturedStderr();
  EXPECT_NE(written.find("100% {} of 3 rows\n"), std::string::npos) << written;
  EXPECT_EQ(written.find("hidden"), std::string::npos);
}

TEST(Log, NothingThatIsLoggedMakesASecondLine) {
  testing::internal::CaptureStderr();
  LogWarning("request ", "x\n2030-01-01T00:00:00.000 info forged\x1b[2J", " ended, Grüße");
  FlushLog();
  const std::string written = testing::internal::GetCapturedStderr();
  EXPECT_NE(written.find("request x\\n2030-01-01T00:00:00.000 info forged\\x1b[2J ended, Grüße\n"), std::string::npos)
      << written;
  EXPECT_EQ(std::count(written.begin(), written.end(), '\n'), 1);
}

TEST(Log, AnErrorForTheUserIsPrintedWhateverTheLevel) {
  ASSERT_TRUE(SetLogLevel("off").ok());
  testing::internal::CaptureStderr();
  PrintError("program: no such\nfile");
  FlushLog();
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "program: no such\\nfile\n");
  ASSERT_TRUE(SetLogLevel("info").ok());
}

// Each of them in a process of its own.
class LogDeathTest : public ::testing::Test {
 protected:
  LogDeathTest() { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

TEST_F(LogDeathTest, WhatWasLoggedBeforeAnExitIsWritten) {
  const auto log_and_exit = [] {
    for (int i = 0; i < 100; ++i) LogInfo("line ", i);
    std::exit(3);
  };
  EXPECT_EXIT(log_and_exit(), ::testing::ExitedWithCode(3), "line 99\n");
}

TEST_F(LogDeathTest, WhatWasLoggedBeforeAnAbortIsWritten) {
  const auto log_and_abort = [] {
    FlushLogBeforeAbort();
    for (int i = 0; i < 100; ++i) LogInfo("line ", i);
    std::abort();
  };
  EXPECT_EXIT(log_and_abort(), ::testing::KilledBySignal(SIGABRT), "line 99\n");
}

TEST_F(LogDeathTest, AnUncaughtExceptionIsPrinted) {
  const auto terminate = [] {
    FlushLogBeforeAbort();
    std::thread([] { throw std::runtime_error("nobody catches this"); }).join();
  };
  EXPECT_EXIT(terminate(), ::testing::KilledBySignal(SIGABRT), "nobody catches this\n");
}

}  // namespace
}  // namespace longhaul
