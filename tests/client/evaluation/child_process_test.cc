#include "client/evaluation/child_process.h"

#include <unistd.h>

#include <gtest/gtest.h>

#include <chrono>

namespace longhaul {
namespace {

using std::chrono::seconds;

TEST(ChildProcess, TellsTheExitCode) {
  EXPECT_EQ((*ChildProcess::Start({"sh", "-c", "exit 7"}, ""))->WaitFor(seconds(10)), 7);
  EXPECT_EQ((*ChildProcess::Start({"sh", "-c", "kill -9 $$"}, ""))->WaitFor(seconds(10)), 128 + 9);
  EXPECT_EQ((*ChildProcess::Start({"/no/such/program"}, ""))->WaitFor(seconds(10)), 127);
}

TEST(ChildProcess, StopsWhatRuns) {
  const auto process = *ChildProcess::Start({"sleep", "1000"}, "");
  EXPECT_FALSE(process->ExitCode().has_value());
  process->Stop();
  EXPECT_EQ(process->ExitCode(), 128 + 15);
}

TEST(ChildProcess, WritesItsLog) {
  const std::string log = testing::TempDir() + "/child_process_test." + std::to_string(getpid()) + ".log";
  EXPECT_EQ((*ChildProcess::Start({"sh", "-c", "echo out; echo error >&2"}, log))->WaitFor(seconds(10)), 0);
  char text[32] = {};
  FILE* const file = fopen(log.c_str(), "r");
  ASSERT_NE(file, nullptr);
  EXPECT_EQ(fread(text, 1, sizeof(text) - 1, file), 10u);
  fclose(file);
  EXPECT_STREQ(text, "out\nerror\n");
}

}  // namespace
}  // namespace longhaul
