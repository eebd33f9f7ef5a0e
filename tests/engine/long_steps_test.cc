// Steps that take minutes: what is due meanwhile is done when they end, and times and rates are those of the clock that
// the engine was given.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "engine/base/overload.h"
#include "tests/engine/fake_engine_fixture.h"

namespace longhaul {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

class LongStepsTest : public FakeEngineTest {
 protected:
  LongStepsTest() {
    runner_options_.step_time = [](const Batch&) { return minutes(10); };
  }
};
TEST_P(LongStepsTest, CountTowardsWhatIsKeptForTheFirstOfTheQueue) {
  runner_options_.geometry.n_blocks = 128;
  runner_options_.step_time = [](const Batch&) { return milliseconds(1); };
  options_.reserve_after = seconds(5);
  const auto filling = Submit(Reading(300, 100), {}, "other");  // its reader takes nothing
  EXPECT_EQ(StatsAtRest(engine()).running, 1);
  const auto large = Submit(Reading(210));
  Await<Started>(*large);
  EXPECT_EQ(StatsAtRest(engine()).waiting, 1);
  EXPECT_EQ(Collect(*Submit(Reading(10), {}, "other")).ids.size(), 1u) << "a small one of another client passes";
  time().Advance(seconds(6));
  const auto small = Submit(Reading(10), {}, "other");
  EXPECT_EQ(StatsAtRest(engine()).waiting, 2) << "and none passes any more";
  EXPECT_FALSE(small->ended());
  engine().Cancel(*filling);
  EXPECT_EQ(Collect(*large).ids.size(), 1u);
  EXPECT_EQ(Collect(*small).ids.size(), 1u);
  Collect(*filling);
  ExpectAllFree(engine());
}

// Steps in flight of others do not count against the room of its stream.
TEST_P(LongStepsTest, StallWhoTakesNothingWhileOthersAreBusy) {
  options_.stream_stall_timeout = seconds(60);
  runner_options_.step_time = [](const Batch&) { return seconds(1); };
  runner().Hold();
  const auto slow = Submit(Ask("a", 300)), busy = Submit(Ask("a", 450));
  AwaitPrepared(engine());
  runner().AwaitHeld();
  for (int i = 0; i < 200 && !slow->ended(); ++i) {
    runner().Pass(1);
    while (busy->TryNext().has_value()) {
    }
  }
  runner().Resume();
  EXPECT_TRUE(slow->ended());
  EXPECT_EQ(Collect(*slow).finished.reason, FinishReason::kStalled);
  EXPECT_FALSE(busy->ended());
  engine().Cancel(*busy);
  Collect(*busy);
}

INSTANTIATE_TEST_SUITE_P(, LongStepsTest, ::testing::Bool(), StepsName);

TEST_P(LongStepsTest, EndWhatIsTooLateAndServeWhoStillWaits) {
  options_.max_rows = 1;
  runner().Hold();
  const auto running = Submit(Ask("a", 10), minutes(15));
  runner().AwaitHeld();
  const auto waiting = Submit(Ask("k", 2), minutes(5)), patient = Submit(Ask("m", 2));
  AwaitPrepared(engine());
  runner().Resume();
  const Outcome late = Collect(*waiting);
  EXPECT_EQ(late.finished.reason, FinishReason::kDeadline);
  EXPECT_NEAR(late.finished.timings.queue, 600, 1e-6) << "the engine looks when the step ends";
  EXPECT_EQ(late.text, "");
  const Outcome ran = Collect(*running);
  EXPECT_EQ(ran.finished.reason, FinishReason::kDeadline);
  EXPECT_EQ(ran.text, "bc") << "the second step ends behind the deadline, but its token is there";
  EXPECT_NEAR(ran.finished.timings.decode, 600, 1e-6);
  EXPECT_EQ(Collect(*patient).text, "no");
  ExpectAllFree(engine());
}

TEST_P(LongStepsTest, SeeACancellationAtTheirEnd) {
  runner().Hold();
  const auto running = Submit(Ask("a", 10)), beside = Submit(Ask("m", 3));
  AwaitPrepared(engine());
  runner().AwaitHeld();
  engine().Cancel(*running);
  EXPECT_FALSE(running->ended());
  runner().Resume();
  const Outcome outcome = Collect(*running);
  EXPECT_EQ(outcome.finished.reason, FinishReason::kCancelled);
  EXPECT_EQ(outcome.finished.status.code(), absl::StatusCode::kCancelled);
  EXPECT_LE(outcome.text.size(), 1u);
  EXPECT_EQ(Collect(*beside).text, "nop");
  ExpectAllFree(engine());
}

// Who has room is not stalled, however long nothing comes; who has none is given up at the end of the step.
TEST_P(LongStepsTest, StallWhoTakesNothingAndNobodyElse) {
  options_.stream_stall_timeout = seconds(60);
  options_.events_per_stream = 8;
  std::atomic<bool> is_long = false;
  runner_options_.step_time = [&](const Batch&) { return is_long ? milliseconds(minutes(10)) : milliseconds(1); };
  const auto full = Submit(Endless());
  EXPECT_GT(StatsAtRest(engine()).blocks_used, 0);
  is_long = true;  // nothing runs
  const Outcome outcome = Answer(Ask("a", 3));
  EXPECT_EQ(outcome.text, "bcd");
  EXPECT_NEAR(outcome.finished.timings.prefill + outcome.finished.timings.decode, 1800, 1e-6);
  EXPECT_TRUE(full->ended());
  EXPECT_EQ(Collect(*full).finished.reason, FinishReason::kStalled);
  EXPECT_EQ(engine().telemetry().stream_stalls[RequestStage::kRunning].value(), 1);
  ExpectAllFree(engine());
}

TEST_P(LongStepsTest, MakeWhoIsRefusedComeBackLater) {
  options_.max_rows = 1;
  options_.max_queue = 1;
  EXPECT_EQ(engine().Stats().retry_after, 1) << "nothing is known yet";
  const auto running = Submit(Ask("abcdefghij", 100));  // ten tokens in ten minutes: one a minute
  Await<Chunk>(*running);
  runner().Hold();
  const auto waiting = Submit(Reading(30));
  AwaitPrepared(engine());
  EXPECT_EQ(OverloadOf(Collect(*Submit(Reading(5))).finished.status)->retry_after, 60) << "at most a minute";
  engine().Cancel(*running);
  engine().Cancel(*waiting);
  runner().Resume();
  Collect(*running);
  Collect(*waiting);
}

// With steps that overlap a step's own time begins where the one before it ends: the sum is what passed.
TEST_P(LongStepsTest, AreTimedOnceEach) {
  const Clock::time_point begin = time().Now();
  const Outcome outcome = Answer(Ask("a", 6));
  EXPECT_EQ(outcome.text, "bcdefg");
  EXPECT_EQ(time().Now() - begin, minutes(60));
  EXPECT_EQ(engine().Stats().steps, 6);
  const Telemetry& telemetry = engine().telemetry();
  EXPECT_EQ(telemetry.step_time[StepPhase::kForward].Read().count(), 6);
  EXPECT_NEAR(static_cast<double>(telemetry.step_time[StepPhase::kForward].Read().sum), 3600e9, 1e3);
  EXPECT_NEAR(outcome.finished.timings.first_token, 600, 1e-6);
  EXPECT_NEAR(outcome.finished.timings.decode, 3000, 1e-6);
  const auto& gaps = engine().telemetry().Of({.kind = position::None()}, DecodingKind::kPlain).inter_token_latency;
  EXPECT_EQ(gaps.Read().sum, 5 * std::chrono::nanoseconds(minutes(10)).count());
}

}  // namespace
}  // namespace longhaul
