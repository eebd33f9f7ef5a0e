#include "server/grpc/event_pump.h"

#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <memory>
#include <thread>
#include <vector>

namespace longhaul {
namespace {

class Writer : public EventWriter {
 public:
  void Pull() override { ++pulls; }
  std::atomic<int> pulls{0};
};

// Has `done` counted down when it is pulled.
class Last : public EventWriter {
 public:
  explicit Last(std::latch& done) : done_(done) {}
  void Pull() override { done_.count_down(); }

 private:
  std::latch& done_;
};

TEST(EventPump, PullsWhoWasNotedBeforeTheLast) {
  EventPump pump;
  std::vector<std::shared_ptr<Writer>> writers;
  for (int i = 0; i < 100; ++i) writers.push_back(std::make_shared<Writer>());
  std::latch done(1);
  const auto last = std::make_shared<Last>(done);
  for (const auto& writer : writers) pump.Note(writer, /*more=*/true);
  pump.Note(last, /*more=*/false);
  done.wait();
  for (const auto& writer : writers) EXPECT_EQ(writer->pulls, 1);
}

TEST(EventPump, ANoteThatComesWhileSomebodyIsPulledIsNotLost) {
  EventPump pump;
  const auto writer = std::make_shared<Writer>();
  std::atomic<int> noted{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 2000; ++i) {
        ++noted;
        pump.Note(writer, /*more=*/false);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::latch done(1);
  const auto last = std::make_shared<Last>(done);
  pump.Note(last, /*more=*/false);
  done.wait();
  EXPECT_GE(writer->pulls, 1);
  EXPECT_LE(writer->pulls, noted);
}

TEST(EventPump, ForgetsWhoHasGoneAndEverybodyOnceItHasStopped) {
  EventPump pump;
  const auto writer = std::make_shared<Writer>();
  std::weak_ptr<EventWriter> gone;
  {
    const auto short_lived = std::make_shared<Writer>();
    gone = short_lived;
  }
  pump.Note(gone, /*more=*/false);
  pump.Stop();
  for (int i = 0; i < 3; ++i) pump.Note(writer, /*more=*/false);
  EXPECT_EQ(writer->pulls, 0);
  EXPECT_EQ(writer.use_count(), 1);
}

}  // namespace
}  // namespace longhaul
