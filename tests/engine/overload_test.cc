// What the engine does when more is asked of it than it can do, and what it tells an operator meanwhile.

#include "engine/base/overload.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <latch>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/engine/fake_engine_fixture.h"

namespace longhaul {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class OverloadTest : public FakeEngineTest {
 protected:
  OverloadTest() { runner_options_.geometry.n_blocks = 128; }

  std::shared_ptr<EventStream> SubmitOf(const std::string& client, GenerateParams params, const std::string& id = "r",
                                        std::optional<milliseconds> deadline = std::nullopt) {
    Request request;
    request.id = id;
    request.client = client;
    request.priority = 5;
    request.params = std::move(params);
    if (deadline.has_value()) request.deadline = time().Now() + *deadline;
    return engine().Submit(std::move(request), nullptr);
  }
  // Holds more than half of the cache: nobody takes its answer, so it rests. Beside it no prompt of kMoreThanIsLeft
  // fits.
  GenerateParams Filling() { return Reading(300, 100); }
  static constexpr int64_t kMoreThanIsLeft = 210;

  RequestInfo InfoOf(const std::string& id) {
    for (const RequestInfo& info : engine().ListRequests()) {
      if (info.id == id) return info;
    }
    ADD_FAILURE() << id << " is not there";
    return {};
  }
  static Overload OverloadIn(const Outcome& outcome) {
    EXPECT_TRUE(outcome.finished.refused);
    const auto overload = OverloadOf(outcome.finished.status);
    EXPECT_TRUE(overload.has_value()) << outcome.finished.status;
    return overload.value_or(Overload());
  }
};
INSTANTIATE_TEST_SUITE_P(, OverloadTest, ::testing::Bool(), StepsName);

TEST_P(OverloadTest, AFullQueueSaysWhenToTryAgain) {
  options_.max_queue = 1;
  options_.step_target = std::chrono::hours(1);
  runner_options_.step_time = [](const Batch& batch) { return milliseconds(100) * batch.n_tokens(); };
  const auto running = SubmitOf("a", Filling(), "running");
  Await<Chunk>(*running);
  const auto waiting = SubmitOf("a", Reading(kMoreThanIsLeft), "waiting");
  Await<Started>(*waiting);
  const RequestInfo info = InfoOf("waiting");
  EXPECT_EQ(info.progress.phase, RequestPhase::kWaiting);
  EXPECT_EQ(info.prompt_tokens, kMoreThanIsLeft);
  EXPECT_EQ(engine().Stats().waiting_tokens, kMoreThanIsLeft);
  const Overload overload = OverloadIn(Collect(*SubmitOf("a", Reading(10))));
  EXPECT_EQ(overload.reason, "QUEUE_FULL");
  EXPECT_EQ(overload.limit, "1");
  EXPECT_NEAR(overload.retry_after, 21, 0.01) << "ten tokens a second";
  engine().Cancel(*waiting);
  engine().Cancel(*running);
  Collect(*waiting);
  Collect(*running);
  ExpectAllFree(engine());
}

TEST_P(OverloadTest, AClientHasItsShareAndAnotherStillGetsIn) {
  options_.max_client_requests = 1;
  options_.max_client_queued_tokens = 100;
  const auto running = SubmitOf("greedy", Endless(), "running");
  Await<Chunk>(*running);
  const Outcome refused = Collect(*SubmitOf("greedy", Reading(10)));
  EXPECT_EQ(OverloadIn(refused).reason, "CLIENT_LIMIT");
  EXPECT_THAT(std::string(refused.finished.status.message()),
              AllOf(HasSubstr("'greedy' has 1 requests"), HasSubstr("limit is 1 (--max-client-requests)")));
  EXPECT_TRUE(Collect(*SubmitOf("other", Reading(10))).finished.status.ok());
  EXPECT_EQ(engine().telemetry().rejections[Rejection::kQuota].value(), 1);
  engine().Cancel(*running);
  Collect(*running);
  EXPECT_TRUE(Collect(*SubmitOf("greedy", Reading(10))).finished.status.ok());
}

TEST_P(OverloadTest, AClientHasSoManyTokensInTheQueue) {
  options_.max_client_queued_tokens = 2 * kMoreThanIsLeft;
  const auto running = SubmitOf("other", Filling(), "running");
  Await<Chunk>(*running);
  std::vector<std::shared_ptr<EventStream>> waiting;
  for (const char* id : {"w1", "w2"}) {
    waiting.push_back(SubmitOf("greedy", Reading(kMoreThanIsLeft), id));
    Await<Started>(*waiting.back());
    EXPECT_EQ(InfoOf(id).progress.phase, RequestPhase::kWaiting);
  }
  const Outcome refused = Collect(*SubmitOf("greedy", Reading(10)));
  EXPECT_EQ(OverloadIn(refused).flag, "--max-client-queued-tokens");
  EXPECT_THAT(std::string(refused.finished.status.message()), AllOf(HasSubstr("420 tokens"), HasSubstr("the 10 of")));
  engine().Cancel(*waiting[0]);
  Collect(*waiting[0]);
  const auto again = SubmitOf("greedy", Reading(10));
  engine().Cancel(*running);
  engine().Cancel(*waiting[1]);
  EXPECT_TRUE(Collect(*again).finished.status.ok());
}

// Finished is the sign to ask again: by then the share is free.
TEST_P(OverloadTest, AClientThatAsksOneAfterTheOtherIsNeverRefused) {
  options_.max_client_requests = 1;
  for (int i = 0; i < 40; ++i) {
    const auto stream = SubmitOf("a", Reading(3));
    if (i % 4 == 0) engine().Cancel(*stream);
    EXPECT_FALSE(OverloadOf(Collect(*stream).finished.status).has_value()) << i;
  }
}

TEST_P(OverloadTest, ARequestWithoutADeadlineGetsTheServers) {
  options_.max_request_time = milliseconds(200);
  const auto lasted = [](const Outcome& of) {
    return of.finished.timings.queue + of.finished.timings.prefill + of.finished.timings.decode;
  };
  const Outcome outcome = Collect(*SubmitOf("a", Endless()));
  EXPECT_NEAR(lasted(outcome), 0.2, 1e-9);
  EXPECT_EQ(outcome.finished.reason, FinishReason::kDeadline);
  EXPECT_EQ(outcome.finished.status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(std::string(outcome.finished.status.message()),
              AllOf(HasSubstr("200 ms"), HasSubstr("--max-request-time")));
  // Its own deadline is its own affair.
  const Outcome own = Collect(*SubmitOf("a", Endless(), "r", milliseconds(300)));
  EXPECT_EQ(own.finished.reason, FinishReason::kDeadline);
  EXPECT_NEAR(lasted(own), 0.3, 1e-9);
  EXPECT_THAT(std::string(own.finished.status.message()), Not(HasSubstr("--max-request-time")));
}

TEST_P(OverloadTest, APromptThatCannotBeReadInTimeCostsNoStep) {
  options_.step_target = std::chrono::hours(1);
  runner_options_.step_time = [](const Batch& batch) { return milliseconds(1) * batch.n_tokens(); };
  // Before a thousand tokens have been read nothing is known, and a hopeless one is tried.
  EXPECT_EQ(Collect(*SubmitOf("a", Reading(400), "r", milliseconds(50))).finished.reason, FinishReason::kDeadline);
  EXPECT_GT(runner().submitted(), 0);
  for (int i = 0; i < 3; ++i) {
    const Finished read = Collect(*SubmitOf("a", Reading(400), "r", milliseconds(60000))).finished;
    EXPECT_TRUE(read.status.ok()) << read.status;
  }
  // It would take half a second, four times what is left.
  int64_t steps = runner().submitted();
  const Outcome outcome = Collect(*SubmitOf("a", Reading(500), "r", milliseconds(124)));
  EXPECT_EQ(outcome.finished.reason, FinishReason::kDeadline);
  EXPECT_EQ(outcome.finished.status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(std::string(outcome.finished.status.message()), AllOf(HasSubstr("500 tokens"), HasSubstr("not begun")));
  EXPECT_EQ(runner().submitted(), steps);
  ExpectAllFree(engine());
  // What might just be done is tried.
  steps = runner().submitted();
  EXPECT_EQ(Collect(*SubmitOf("a", Reading(500), "r", milliseconds(127))).finished.reason, FinishReason::kDeadline);
  EXPECT_GT(runner().submitted(), steps);
  EXPECT_TRUE(Collect(*SubmitOf("a", Reading(300), "r", milliseconds(2000))).finished.status.ok());
}

TEST_P(OverloadTest, TellsWhoAsksWhatAndEndsIt) {
  GenerateParams params = Ask("One, two, three,", 100);  // not to its end: nobody takes its answer
  params.position.kind = position::Rerope{64};
  const auto running = SubmitOf("alice", params, "first");
  Await<Started>(*running);
  StatsAtRest(engine());
  const RequestInfo first = InfoOf("first");
  EXPECT_EQ(first.progress.phase, RequestPhase::kDecode);
  EXPECT_EQ(first.client, "alice");
  EXPECT_EQ(first.priority, 5);
  EXPECT_EQ(first.rows, 1);
  EXPECT_EQ(first.prompt_tokens, 16);
  EXPECT_EQ(first.progress.tokens_read, 16);
  EXPECT_EQ(first.progress.tokens_generated, 61) << "its stream has room for 64 events, and a step makes four at most";
  EXPECT_GT(first.progress.blocks, 0);
  EXPECT_GT(first.age, 0);
  EXPECT_EQ(std::get<position::Rerope>(first.position.kind).window, 64);
  const auto filling = SubmitOf("alice", Filling(), "filling");
  Await<Chunk>(*filling);
  const auto waiting = SubmitOf("bob", Reading(kMoreThanIsLeft), "second");
  Await<Started>(*waiting);
  EXPECT_EQ(InfoOf("second").progress.phase, RequestPhase::kWaiting);
  EXPECT_EQ(InfoOf("second").progress.blocks, 0);
  EXPECT_EQ(engine().CancelRequest("nobody's"), 0);
  for (const char* id : {"second", "filling", "first"}) EXPECT_EQ(engine().CancelRequest(id), 1);
  EXPECT_EQ(Collect(*waiting).finished.reason, FinishReason::kCancelled);
  for (const auto& stream : {filling, running}) {
    EXPECT_EQ(Collect(*stream).finished.reason, FinishReason::kCancelled);
  }
  ExpectAllFree(engine());
}

TEST_P(OverloadTest, EndsARequestThatHasNotBeenTokenized) {
  const auto hold = std::make_shared<std::latch>(1);
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(engine().RunOnTextPool([hold] { hold->wait(); }).ok());
  const auto stream = SubmitOf("a", Ask("abc", 1), "slow");
  const std::vector<RequestInfo> all = engine().ListRequests();
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].rows, 0);
  EXPECT_EQ(engine().CancelRequest("slow"), 1);
  EXPECT_EQ(engine().CancelRequest("slow"), 0) << "once is enough";
  hold->count_down();
  EXPECT_EQ(Collect(*stream).finished.status.code(), absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace longhaul
