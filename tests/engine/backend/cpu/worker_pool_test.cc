#include "engine/backend/cpu/worker_pool.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <new>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace longhaul::cpu {
namespace {

TEST(WorkerPoolTest, DoesEachPieceOnceInManyRounds) {
  for (int threads : {1, 2, 3, 8}) {
    WorkerPool pool(threads);
    ASSERT_EQ(pool.threads(), threads);
    for (int round = 0; round < 2000; ++round) {
      const int64_t pieces = round % 23;
      // Plain variables: the pool itself orders the caller and the pieces.
      std::vector<int> times(static_cast<size_t>(pieces));
      std::vector<int64_t> by_thread(static_cast<size_t>(threads));
      pool.ParallelFor(pieces, [&](int64_t piece, int thread) {
        ++times[static_cast<size_t>(piece)];
        by_thread[static_cast<size_t>(thread)] += 1;
      });
      int64_t done = 0;
      for (int64_t n : by_thread) done += n;
      ASSERT_EQ(done, pieces);
      for (int n : times) ASSERT_EQ(n, 1) << threads << " threads, round " << round;
    }
  }
}

TEST(WorkerPoolTest, WhoHasNothingLeftDoesWhatOthersHave) {
  WorkerPool pool(2);
  std::atomic<int> done{0};
  // The first piece ends when all others are done, half of which were its thread's.
  pool.ParallelFor(8, [&](int64_t piece, int) {
    while (piece == 0 && done < 7) std::this_thread::yield();
    ++done;
  });
  EXPECT_EQ(done, 8);
}

TEST(WorkerPoolTest, WakesWorkersThatFellAsleep) {
  WorkerPool pool(2);
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    // The first piece ends only when another thread has taken the second.
    std::atomic<bool> second{false};
    pool.ParallelFor(2, [&](int64_t piece, int) {
      if (piece == 1) second = true;
      while (!second) std::this_thread::yield();
    });
    EXPECT_TRUE(second);
  }
}

TEST(WorkerPoolTest, AnExceptionOfAnyPieceComesOutWhenAllAreDone) {
  for (int threads : {1, 2, 3}) {
    WorkerPool pool(threads);
    for (int64_t thrower = 0; thrower < 16; ++thrower) {
      std::atomic<int> done{0};
      const auto work = [&](int64_t piece, int) {
        if (piece == thrower) throw std::bad_alloc();
        ++done;
      };
      EXPECT_THROW(pool.ParallelFor(16, work), std::bad_alloc);
      if (threads > 1) {
        EXPECT_EQ(done, 15);
      }
      done = 0;
      pool.ParallelFor(16, [&](int64_t, int) { ++done; });
      EXPECT_EQ(done, 16);
    }
  }
}

}  // namespace
}  // namespace longhaul::cpu
