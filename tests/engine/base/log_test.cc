#include "engine/base/log.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

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
  const std::string written = testing::internal::GetCapturedStderr();
  EXPECT_NE(written.find("100% {} of 3 rows\n"), std::string::npos) << written;
  EXPECT_EQ(written.find("hidden"), std::string::npos);
}

TEST(Log, NothingThatIsLoggedMakesASecondLine) {
  testing::internal::CaptureStderr();
  LogWarning("request ", "x\n2030-01-01T00:00:00.000 info forged\x1b[2J", " ended, Grüße");
  const std::string written = testing::internal::GetCapturedStderr();
  EXPECT_NE(written.find("request x\\n2030-01-01T00:00:00.000 info forged\\x1b[2J ended, Grüße\n"), std::string::npos)
      << written;
  EXPECT_EQ(std::count(written.begin(), written.end(), '\n'), 1);
}

}  // namespace
}  // namespace longhaul
