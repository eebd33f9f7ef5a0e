#include "engine/base/line_writer.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <vector>

namespace longhaul {
namespace {

constexpr std::chrono::milliseconds kLong{300'000};

// A pipe that is read only when a test says so, and the lines that were dropped.
class LineWriterTest : public ::testing::Test {
 protected:
  LineWriterTest() {
    EXPECT_EQ(pipe2(ends_, O_CLOEXEC), 0);
    EXPECT_EQ(fcntl(ends_[1], F_SETPIPE_SZ, kPipeBytes), kPipeBytes);
  }
  ~LineWriterTest() override {
    CloseReader();
    close(ends_[1]);
  }

  // Waits until there is something.
  std::string Read(size_t bytes) {
    std::string text(bytes, '\0');
    for (size_t n = 0; n < bytes;) {
      const ssize_t more = read(ends_[0], text.data() + n, bytes - n);
      if (more <= 0) return "the pipe ended";
      n += static_cast<size_t>(more);
    }
    return text;
  }

  void CloseReader() {
    if (ends_[0] >= 0) close(ends_[0]);
    ends_[0] = -1;
  }

  static constexpr int kPipeBytes = 4096;
  int ends_[2] = {-1, -1};
};

std::string Line(char c, size_t bytes) {
  return std::string(bytes - 1, c) + "\n";
}

TEST_F(LineWriterTest, ALineThatIsTooLongIsDroppedAlone) {
  std::atomic<int64_t> told{0};
  LineWriter writer(ends_[1], 100, [&](int64_t lines) { told += lines; });
  writer.Write(Line('a', 101));
  EXPECT_EQ(writer.dropped(), 1);
  writer.Write(Line('b', 100));
  EXPECT_EQ(Read(100), Line('b', 100));
  EXPECT_TRUE(writer.Flush(kLong));
  EXPECT_EQ(told, 1);
}

TEST_F(LineWriterTest, WritesLinesInTheirOrder) {
  LineWriter writer(ends_[1], 1 << 20, [](int64_t) { ADD_FAILURE(); });
  std::string all;
  for (int i = 0; i < 100; ++i) {
    const std::string line = "line " + std::to_string(i) + "\n";
    all += line;
    writer.Write(line);
  }
  EXPECT_EQ(Read(all.size()), all);
  EXPECT_TRUE(writer.Flush(kLong));
  EXPECT_EQ(writer.dropped(), 0);
}

TEST_F(LineWriterTest, ALineThatIsLongerThanThePipeArrivesWhole) {
  LineWriter writer(ends_[1], 1 << 20, [](int64_t) { ADD_FAILURE(); });
  const std::string line = Line('x', 10 * kPipeBytes + 123);
  writer.Write(line);
  EXPECT_EQ(Read(line.size()), line);
  EXPECT_TRUE(writer.Flush(kLong));
}

TEST_F(LineWriterTest, AStuckReaderStopsNobodyAndIsToldWhatItMissed) {
  constexpr size_t kLine = 1000, kQueue = 10 * kLine;
  int64_t told = 0;
  LineWriter* self = nullptr;
  LineWriter writer(ends_[1], kQueue, [&](int64_t lines) {
    told += lines;
    self->Write("dropped\n");
  });
  self = &writer;
  constexpr int kLines = 1000;
  for (int i = 0; i < kLines; ++i) writer.Write(Line('x', kLine));
  EXPECT_FALSE(writer.Flush(std::chrono::milliseconds(0)));
  // The pipe takes some, the queue ten.
  const int64_t dropped = writer.dropped();
  EXPECT_GE(dropped, kLines - 10 - kPipeBytes / int64_t{kLine} - 1);
  EXPECT_LE(dropped, kLines - 10);

  std::string expected;
  for (int64_t i = dropped; i < kLines; ++i) expected += Line('x', kLine);
  expected += "dropped\n";
  EXPECT_EQ(Read(expected.size()), expected);
  EXPECT_TRUE(writer.Flush(kLong));
  EXPECT_EQ(told, dropped);
  EXPECT_EQ(writer.dropped(), dropped);
  writer.Write("again\n");
  EXPECT_EQ(Read(6), "again\n");
}

// Else each line that the reader takes would let one in, and each would be followed by a note of those dropped between.
TEST_F(LineWriterTest, OnceFullItDropsUntilNothingWaits) {
  LineWriter writer(ends_[1], 3 * kPipeBytes, [](int64_t) {});
  while (writer.dropped() == 0) writer.Write(Line('x', kPipeBytes));
  Read(kPipeBytes);
  const int64_t dropped = writer.dropped();
  writer.Write("short\n");
  EXPECT_EQ(writer.dropped(), dropped + 1);
}

TEST_F(LineWriterTest, WhatCannotBeWrittenIsDropped) {
  int64_t told = 0;
  LineWriter writer(ends_[1], 1 << 20, [&](int64_t lines) { told += lines; });
  CloseReader();  // and no SIGPIPE ends this process
  for (int i = 1; i <= 3; ++i) {
    writer.Write("nobody reads this\n");
    EXPECT_TRUE(writer.Flush(kLong));
    EXPECT_EQ(writer.dropped(), i);
  }
  EXPECT_EQ(told, 0);
}

TEST_F(LineWriterTest, ItsEndDoesNotWaitForAStuckReader) {
  LineWriter writer(ends_[1], 1 << 20, [](int64_t) {});
  for (int i = 0; i < 100; ++i) writer.Write(Line('x', 1000));
}

TEST_F(LineWriterTest, NothingWrittenNoThread) {
  LineWriter writer(ends_[1], 1 << 20, [](int64_t) {});
  EXPECT_TRUE(writer.Flush(std::chrono::milliseconds(0)));
}

TEST_F(LineWriterTest, WritesWithoutAThreadWhatItCanWriteAtOnce) {
  pthread_attr_t before, too_large;
  ASSERT_EQ(pthread_getattr_default_np(&before), 0);
  ASSERT_EQ(pthread_attr_init(&too_large), 0);
  ASSERT_EQ(pthread_attr_setstacksize(&too_large, size_t{1} << 47), 0);  // there are no such stacks
  ASSERT_EQ(pthread_setattr_default_np(&too_large), 0);
  LineWriter writer(ends_[1], 1 << 20, [](int64_t) {});
  writer.Write("a line\n");
  EXPECT_EQ(Read(7), "a line\n");
  for (int i = 0; i < 10; ++i) writer.Write(Line('x', 1000));
  EXPECT_GE(writer.dropped(), 10 - kPipeBytes / 1000);
  EXPECT_TRUE(writer.Flush(std::chrono::milliseconds(0)));
  ASSERT_EQ(pthread_setattr_default_np(&before), 0);
}

TEST_F(LineWriterTest, ManyThreadsWriteWholeLines) {
  constexpr int kThreads = 4, kLines = 500;
  constexpr size_t kLine = 50;
  LineWriter writer(ends_[1], 1 << 20, [](int64_t) { ADD_FAILURE(); });
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kLines; ++i) writer.Write(Line(static_cast<char>('a' + t), kLine));
    });
  }
  for (int i = 0; i < kThreads * kLines; ++i) {
    const std::string line = Read(kLine);
    ASSERT_EQ(line, Line(line[0], kLine));
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace longhaul
