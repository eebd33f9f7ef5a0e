// How a request ends before its answer does: cancelled, too late, stalled, drained; and that nothing of it stays.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <latch>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "engine/base/overload.h"
#include "tests/engine/fake_engine_fixture.h"

namespace longhaul {
namespace {

using ::testing::HasSubstr;

using EndsTest = FakeEngineTest;
INSTANTIATE_TEST_SUITE_P(, EndsTest, ::testing::Bool(), StepsName);

TEST_P(EndsTest, CancellingFreesTheBlocks) {
  const auto stream = Submit(Endless());
  Await<Chunk>(*stream);
  EXPECT_GT(StatsAtRest(engine()).blocks_used, 0);
  engine().Cancel(*stream);
  const Outcome outcome = Collect(*stream);
  EXPECT_EQ(outcome.finished.reason, FinishReason::kCancelled);
  EXPECT_EQ(outcome.finished.status.code(), absl::StatusCode::kCancelled);
  ExpectAllFree(engine());
}

TEST_P(EndsTest, ADeadlineEndsARequestThatRunsAndOneThatWaits) {
  options_.max_rows = 1;
  runner_options_.step_time = [](const Batch&) { return milliseconds(10); };
  runner().Hold();
  const auto first = Submit(Endless(), milliseconds(1000));
  runner().AwaitHeld();
  const auto second = Submit(Endless(), milliseconds(1000));
  runner().Resume();
  const Outcome ran = Collect(*first), waited = Collect(*second);
  EXPECT_EQ(ran.finished.reason, FinishReason::kDeadline);
  EXPECT_EQ(ran.finished.status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(ran.ids.size(), 100u) << "a step takes a hundredth of the time";
  EXPECT_EQ(waited.finished.status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(waited.ids.size(), 0u);
  EXPECT_EQ(engine().telemetry().deadlines_expired[RequestStage::kRunning].value(), 1);
  EXPECT_EQ(engine().telemetry().deadlines_expired[RequestStage::kQueue].value(), 1);
  ExpectAllFree(engine());
}

TEST_P(EndsTest, ADeadlineThatHasPassedIsARefusal) {
  EXPECT_TRUE(Collect(*Submit(Endless(), milliseconds(0))).finished.refused);
  EXPECT_EQ(engine().telemetry().deadlines_expired[RequestStage::kQueue].value(), 1);
  EXPECT_EQ(engine().telemetry().deadlines_expired[RequestStage::kRunning].value(), 0);
}

TEST_P(EndsTest, AFullQueueRefusesAndLivesOn) {
  options_.max_queue = 4;
  options_.max_rows = 1;
  std::vector<std::shared_ptr<EventStream>> streams;
  streams.push_back(Submit(Endless()));
  Await<Chunk>(*streams[0]);  // it has the only row, and rests when its stream is full
  for (int i = 0; i < 11; ++i) streams.push_back(Submit(Endless()));
  for (const auto& stream : streams) engine().Cancel(*stream);
  for (size_t i = 0; i < streams.size(); ++i) {
    const Outcome outcome = Collect(*streams[i]);
    if (i < 5) {
      EXPECT_EQ(outcome.finished.status.code(), absl::StatusCode::kCancelled);
      continue;
    }
    EXPECT_TRUE(outcome.finished.refused);
    EXPECT_EQ(outcome.finished.status.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_THAT(std::string(outcome.finished.status.message()), HasSubstr("--max-queue"));
  }
  EXPECT_EQ(engine().telemetry().rejections[Rejection::kQueueFull].value(), 7);
  ExpectAllFree(engine());
  EXPECT_EQ(Answer(Ask("Still", 2)).finished.reason, FinishReason::kLength);
}

// In a cache that holds one of them at a time, the later request of larger priority is served before the earlier one.
TEST_P(EndsTest, LargerPriorityGoesFirst) {
  runner_options_.geometry.n_blocks = 40;
  const auto ask = [&](TokenId first, int32_t priority, size_t prompt_tokens = 100) {
    Request request;
    GenerateParams params = Ask("", 120 - static_cast<int64_t>(prompt_tokens));
    params.prompt = TokenPrompt{std::vector<TokenId>(prompt_tokens, first)};
    request.params = params;
    request.priority = priority;
    return engine().Submit(std::move(request), nullptr);
  };
  runner().Hold();
  const auto running = ask('x', 0, 70);
  runner().AwaitHeld();
  const auto low = ask('y', -5), high = ask('z', 5);
  AwaitPrepared(engine());
  runner().Resume();
  const Outcome of_high = Collect(*high);
  Collect(*running);
  const Outcome of_low = Collect(*low);
  EXPECT_EQ(of_high.finished.reason, FinishReason::kLength);
  EXPECT_EQ(of_low.finished.reason, FinishReason::kLength);
  EXPECT_GT(of_low.finished.timings.queue, of_high.finished.timings.queue + of_high.finished.timings.decode);
}

// --- Readers that take nothing ---

class SlowReaderTest : public FakeEngineTest {
 protected:
  SlowReaderTest() {
    options_.events_per_stream = 8;
    options_.stream_stall_timeout = milliseconds(0);
  }
  static GenerateParams Long() { return Endless(150); }
};
INSTANTIATE_TEST_SUITE_P(, SlowReaderTest, ::testing::Bool(), StepsName);

TEST_P(SlowReaderTest, IsNotScheduledStallsNobodyAndLosesNothing) {
  const auto slow = Submit(Long());
  const EngineStats rest = StatsAtRest(engine());
  EXPECT_GT(rest.blocks_used, 0);
  EXPECT_EQ(rest.decode_tokens, 3) << "after Started and the first token it has room for the events of three steps";
  EXPECT_EQ(Answer(Ask("France", 4)).ids.size(), 4u);
  EXPECT_EQ(StatsAtRest(engine()).decode_tokens, 3 + 3);
  const Outcome late = Collect(*slow);
  EXPECT_EQ(late.ids.size(), 150u);
  const Outcome prompt = Answer(Long());
  EXPECT_EQ(late.ids, prompt.ids);
  EXPECT_EQ(late.text, prompt.text);
}

TEST_P(SlowReaderTest, IsGivenUpAfterTheStallTimeout) {
  options_.stream_stall_timeout = milliseconds(300);
  const auto slow = Submit(Long());
  EXPECT_GT(StatsAtRest(engine()).blocks_used, 0);
  time().Advance(milliseconds(250));
  EXPECT_GT(StatsAtRest(engine()).blocks_used, 0);
  time().Advance(milliseconds(50));
  EXPECT_EQ(StatsAtRest(engine()).blocks_used, 0);
  const Outcome outcome = Collect(*slow);
  EXPECT_EQ(outcome.finished.reason, FinishReason::kStalled);
  EXPECT_EQ(outcome.finished.status.code(), absl::StatusCode::kAborted);
  EXPECT_THAT(std::string(outcome.finished.status.message()), HasSubstr("--stream-stall-timeout"));
  EXPECT_GT(outcome.ids.size(), 0u);
  EXPECT_EQ(static_cast<int64_t>(outcome.ids.size()), outcome.finished.usage.completion_tokens);
  EXPECT_EQ(engine().telemetry().stream_stalls[RequestStage::kRunning].value(), 1);
  ExpectAllFree(engine());
}

TEST_P(SlowReaderTest, IsNotGivenUpWhileItTakesSomethingNowAndThen) {
  options_.stream_stall_timeout = milliseconds(1500);
  const auto slow = Submit(Long());
  for (int i = 0; i < 8; ++i) {
    EXPECT_GT(StatsAtRest(engine()).blocks_used, 0);
    time().Advance(milliseconds(1400));
    ASSERT_TRUE(slow->TryNext().has_value());
  }
  EXPECT_EQ(Collect(*slow).finished.reason, FinishReason::kLength);
}

// --- Drain ---

class DrainTest : public FakeEngineTest {
 protected:
  // Drains on another thread; it is under way when this returns.
  void BeginDrain(milliseconds timeout) {
    const Clock::time_point deadline = time().Now() + timeout;
    drained_ = std::async(std::launch::async, [this, timeout] { return engine().Drain(timeout); });
    time().AwaitWaiter(deadline);
  }
  bool Drained() { return drained_.get(); }

 private:
  std::future<bool> drained_;
};
INSTANTIATE_TEST_SUITE_P(, DrainTest, ::testing::Bool(), StepsName);

TEST_P(DrainTest, LetsRunningRequestsFinishAndRefusesNewOnes) {
  runner().Hold();
  const auto stream = Submit(Ask("a", 20));
  runner().AwaitHeld();
  BeginDrain(std::chrono::minutes(1));
  EXPECT_EQ(Answer(Ask("x", 1)).finished.status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(engine().RunOnTextPool([] {}).code(), absl::StatusCode::kUnavailable);
  runner().Resume();
  EXPECT_EQ(Collect(*stream).text, "bcdefghijklmnopqrstu");
  EXPECT_TRUE(Drained());
  EXPECT_EQ(Answer(Ask("x", 1)).finished.status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(engine().telemetry().rejections[Rejection::kDraining].value(), 2);
}

TEST_P(DrainTest, EndsWhatIsLeftAfterTheTimeout) {
  const auto stream = Submit(Endless());
  EXPECT_GT(StatsAtRest(engine()).blocks_used, 0);  // nobody takes more, so it rests
  BeginDrain(milliseconds(200));
  time().Advance(milliseconds(200));
  EXPECT_FALSE(Drained());
  const Finished finished = Collect(*stream).finished;
  EXPECT_EQ(finished.reason, FinishReason::kUnavailable);
  EXPECT_EQ(finished.status.code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(RetryAfterOf(finished.status).has_value());
}

// The thread of a text that has no end but that of the engine.
std::function<void()> Tokenizing(Engine& engine, absl::Status& status) {
  return [&] {
    do {
      status = engine.Tokenize(TextPrompt{std::string(100'000, ' ')}, false).status();
    } while (status.ok());
  };
}

TEST_P(DrainTest, WaitsForTextsAndEndsThemToo) {
  absl::Status texts[10];  // more than there are threads, so that some wait
  for (absl::Status& status : texts) ASSERT_TRUE(engine().RunOnTextPool(Tokenizing(engine(), status)).ok());
  BeginDrain(milliseconds(1));
  time().Advance(milliseconds(1));
  EXPECT_FALSE(Drained());
  for (const absl::Status& status : texts) EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(engine().RunOnTextPool([] {}).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(engine().Detokenize(std::vector<TokenId>{1}, false, 100).status().code(), absl::StatusCode::kUnavailable);
}

TEST_P(DrainTest, EndsWhatWaitsToBeTokenizedAndSaysWhy) {
  absl::Status texts[2];
  for (absl::Status& status : texts) ASSERT_TRUE(engine().RunOnTextPool(Tokenizing(engine(), status)).ok());
  std::vector<std::shared_ptr<EventStream>> streams;
  for (int i = 0; i < 20; ++i) streams.push_back(Submit(Ask("abc", 1)));
  for (size_t i = 0; i < 10; ++i) engine().Cancel(*streams[i]);
  const auto late = Submit(Ask("abc", 1), milliseconds(50));
  time().Advance(milliseconds(50));
  BeginDrain(milliseconds(100));
  time().Advance(milliseconds(100));
  EXPECT_FALSE(Drained());
  for (size_t i = 0; i < 20; ++i) {
    EXPECT_EQ(Collect(*streams[i]).finished.status.code(),
              i < 10 ? absl::StatusCode::kCancelled : absl::StatusCode::kUnavailable);
  }
  EXPECT_EQ(Collect(*late).finished.status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(runner().submitted(), 0);
}

TEST_P(DrainTest, AnEngineThatGoesAwayEndsItsStreams) {
  std::vector<std::shared_ptr<EventStream>> streams;
  for (int i = 0; i < 20; ++i) streams.push_back(Submit(Endless()));
  Await<Chunk>(*streams[0]);
  DestroyEngine();
  for (const auto& stream : streams) EXPECT_TRUE(absl::IsUnavailable(Collect(*stream).finished.status));
}

// --- Texts that are being tokenized when they are wanted no more ---

// Whoever tokenizes for a request with a deadline looks at the clock now and then.
class TextInWorkTest : public ::testing::Test {
 protected:
  // What ends a long text of which a part has been tokenized.
  Finished EndBy(const std::function<void(EventStream&)>& end) {
    std::promise<std::shared_ptr<EventStream>> submitted;
    const std::thread::id own = std::this_thread::get_id();
    int looks = 0;
    fake_.time.SetOnLook([&] {
      if (std::this_thread::get_id() == own || ++looks != 3) return;
      fake_.time.SetOnLook(nullptr);
      end(*submitted.get_future().get());
    });
    Request request;
    request.params = Ask(std::string(5000, ' '), 1);
    request.deadline = fake_.time.Now() + milliseconds(1000);
    std::get<GenerateParams>(request.params).prompt = TextPrompt{std::string(250'000, 'a')};
    const auto stream = fake_.engine->Submit(std::move(request), nullptr);
    submitted.set_value(stream);
    const Finished finished = Collect(*stream).finished;
    EXPECT_TRUE(finished.refused);
    EXPECT_EQ(looks, 3);
    EXPECT_EQ(fake_.runner->submitted(), 0);
    return finished;
  }
  static FakeRunner::Options RunnerOptions() {
    FakeRunner::Options options;
    options.geometry.n_blocks = 100'000;
    return options;
  }

  FakeEngine fake_{{}, RunnerOptions()};
};

TEST_F(TextInWorkTest, EndsWhenItsRequestIsCancelled) {
  const Finished finished = EndBy([&](EventStream& stream) { fake_.engine->Cancel(stream); });
  EXPECT_EQ(finished.status.code(), absl::StatusCode::kCancelled);
}

TEST_F(TextInWorkTest, EndsWithItsDeadline) {
  const Finished finished = EndBy([&](EventStream&) { fake_.time.Advance(milliseconds(1000)); });
  EXPECT_EQ(finished.status.code(), absl::StatusCode::kDeadlineExceeded);
}

}  // namespace
}  // namespace longhaul
