#include "engine/base/work_queue.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace longhaul {
namespace {

TEST(WorkQueue, OneThreadRunsTheWorkInItsOrder) {
  std::vector<int> ran;
  {
    WorkQueue queue(1, "test");
    for (int i = 0; i < 1000; ++i) queue.Add([&ran, i] { ran.push_back(i); });
  }
  ASSERT_EQ(ran.size(), 1000u);
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(ran[static_cast<size_t>(i)], i);
}

TEST(WorkQueue, RunsEverythingThatManyThreadsAddBeforeItEnds) {
  std::atomic<int> ran = 0;
  {
    WorkQueue queue(3, "test");
    std::vector<std::thread> adders;
    for (int t = 0; t < 4; ++t) {
      adders.emplace_back([&] {
        for (int i = 0; i < 500; ++i) queue.Add([&] { ++ran; });
      });
    }
    for (std::thread& adder : adders) adder.join();
  }
  EXPECT_EQ(ran, 2000);
}

TEST(WorkQueue, WorkMayAddWork) {
  std::atomic<int> ran = 0;
  {
    WorkQueue queue(1, "test");
    queue.Add([&] {
      ++ran;
      queue.Add([&] { ++ran; });
    });
  }
  EXPECT_EQ(ran, 2);
}

TEST(WorkQueue, ThreadsWorkSideBySide) {
  std::atomic<int> waiting = 0;
  WorkQueue queue(2, "test");
  for (int i = 0; i < 2; ++i) {
    queue.Add([&] {
      ++waiting;
      while (waiting < 2) std::this_thread::yield();  // returns only if both run at once
    });
  }
}

}  // namespace
}  // namespace longhaul
