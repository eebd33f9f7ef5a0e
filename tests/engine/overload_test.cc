// What the engine does when more is asked of it than it can do, and what it tells an operator meanwhile.

#include "engine/base/overload.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "tests/engine/engine_fixture.h"

namespace longhaul {
namespace {

using std::chrono::milliseconds;
using ::testing::AllOf;
using ::testing::HasSubstr;

class EngineOverloadTest : public ::testing::Test {
 protected:
  // An engine with options_.
  void Start() {
    options_.kv_cache_bytes = int64_t{64} << 20;
    engine_ = MakeEngine(options_);
  }
  std::shared_ptr<EventStream> Submit(const std::string& client, GenerateParams params, const std::string& id = "r",
                                      std::optional<milliseconds> deadline = std::nullopt) {
    Request request;
    request.id = id;
    request.client = client;
    request.priority = 5;
    request.params = std::move(params);
    if (deadline.has_value()) request.deadline = Clock::now() + *deadline;
    return engine_->Submit(std::move(request), nullptr);
  }
  static GenerateParams Endless() {
    GenerateParams params = Ask("One, two, three,", 2000);
    params.stopping.ignore_eos = true;
    return params;
  }
  // A prompt that has no beginning in common with another.
  GenerateParams Reading(size_t tokens) {
    GenerateParams params = Ask("", 1);
    params.prompt = TokenPrompt{std::vector<TokenId>(tokens, next_token_++)};
    return params;
  }
  // Holds half of the cache: nobody takes its answer, so it rests. Beside it no prompt of kMoreThanIsLeft fits.
  GenerateParams Filling() {
    GenerateParams params = Reading(1500);
    params.stopping.max_tokens = 1200;
    params.stopping.ignore_eos = true;
    return params;
  }
  static constexpr int64_t kMoreThanIsLeft = 1450;
  // Until one of this id is so far.
  RequestInfo WaitFor(const std::string& id, RequestPhase phase) {
    for (int i = 0; i < 60000; ++i) {
      for (const RequestInfo& info : engine_->ListRequests()) {
        if (info.id == id && info.progress.phase == phase && info.rows > 0) return info;
      }
      std::this_thread::sleep_for(milliseconds(1));
    }
    ADD_FAILURE() << id << " never comes so far";
    return {};
  }
  static Overload OverloadIn(const Outcome& outcome) {
    EXPECT_TRUE(outcome.finished.refused);
    const auto overload = OverloadOf(outcome.finished.status);
    EXPECT_TRUE(overload.has_value()) << outcome.finished.status;
    return overload.value_or(Overload());
  }

  EngineOptions options_;
  std::unique_ptr<Engine> engine_;
  TokenId next_token_ = 500;
};

TEST_F(EngineOverloadTest, AFullQueueSaysWhenToTryAgain) {
  options_.max_queue = 1;
  Start();
  const auto running = Submit("a", Filling(), "running");
  WaitFor("running", RequestPhase::kDecode);
  const auto waiting = Submit("a", Reading(kMoreThanIsLeft), "waiting");
  EXPECT_EQ(WaitFor("waiting", RequestPhase::kWaiting).prompt_tokens, kMoreThanIsLeft);
  EXPECT_EQ(engine_->Stats().waiting_tokens, kMoreThanIsLeft);
  const Overload overload = OverloadIn(Collect(*Submit("a", Reading(10))));
  EXPECT_EQ(overload.reason, "QUEUE_FULL");
  EXPECT_EQ(overload.limit, "1");
  EXPECT_GE(overload.retry_after, 0.1);
  EXPECT_LE(overload.retry_after, 60);
  engine_->Cancel(*waiting);
  engine_->Cancel(*running);
  Collect(*waiting);
  EXPECT_EQ(engine_->Stats().waiting_tokens, 0);
}

TEST_F(EngineOverloadTest, AClientHasItsShareAndAnotherStillGetsIn) {
  options_.max_client_requests = 1;
  options_.max_client_queued_tokens = 100;
  Start();
  const auto running = Submit("greedy", Endless(), "running");
  WaitFor("running", RequestPhase::kDecode);
  const Outcome refused = Collect(*Submit("greedy", Reading(10)));
  EXPECT_EQ(OverloadIn(refused).reason, "CLIENT_LIMIT");
  EXPECT_THAT(std::string(refused.finished.status.message()),
              AllOf(HasSubstr("'greedy' has 1 requests"), HasSubstr("limit is 1 (--max-client-requests)")));
  EXPECT_TRUE(Collect(*Submit("other", Reading(10))).finished.status.ok());
  engine_->Cancel(*running);
}

TEST_F(EngineOverloadTest, AClientHasSoManyTokensInTheQueue) {
  options_.max_client_queued_tokens = 2 * kMoreThanIsLeft;
  Start();
  const auto running = Submit("other", Filling(), "running");
  WaitFor("running", RequestPhase::kDecode);
  std::vector<std::shared_ptr<EventStream>> waiting;
  for (const char* id : {"w1", "w2"}) {
    waiting.push_back(Submit("greedy", Reading(kMoreThanIsLeft), id));
    WaitFor(id, RequestPhase::kWaiting);
  }
  const Outcome refused = Collect(*Submit("greedy", Reading(10)));
  EXPECT_EQ(OverloadIn(refused).flag, "--max-client-queued-tokens");
  EXPECT_THAT(std::string(refused.finished.status.message()), AllOf(HasSubstr("2900 tokens"), HasSubstr("the 10 of")));
  engine_->Cancel(*waiting[0]);
  Collect(*waiting[0]);
  const auto again = Submit("greedy", Reading(10));
  engine_->Cancel(*running);
  engine_->Cancel(*waiting[1]);
  EXPECT_TRUE(Collect(*again).finished.status.ok());
}

// Finished is the sign to ask again: by then the share is free.
TEST_F(EngineOverloadTest, AClientThatAsksOneAfterTheOtherIsNeverRefused) {
  options_.max_client_requests = 1;
  Start();
  for (int i = 0; i < 40; ++i) {
    const auto stream = Submit("a", Reading(3));
    if (i % 4 == 0) engine_->Cancel(*stream);
    EXPECT_FALSE(OverloadOf(Collect(*stream).finished.status).has_value()) << i;
  }
}

TEST_F(EngineOverloadTest, ARequestWithoutADeadlineGetsTheServers) {
  options_.max_request_time = milliseconds(200);
  Start();
  const Outcome outcome = Collect(*Submit("a", Endless()));
  EXPECT_EQ(outcome.finished.reason, FinishReason::kDeadline);
  EXPECT_EQ(outcome.finished.status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(std::string(outcome.finished.status.message()),
              AllOf(HasSubstr("200 ms"), HasSubstr("--max-request-time")));
  // Its own deadline is its own affair.
  const auto begin = Clock::now();
  const Outcome own = Collect(*Submit("a", Endless(), "r", milliseconds(500)));
  EXPECT_GE(Clock::now() - begin, milliseconds(500));
  EXPECT_THAT(std::string(own.finished.status.message()), Not(HasSubstr("--max-request-time")));
}

TEST_F(EngineOverloadTest, APromptThatCannotBeReadInTimeCostsNoStep) {
  Start();
  // Nothing is known yet: both are tried.
  double seconds_per_token = 1;
  for (int i = 0; i < 2; ++i) {
    const Finished read = Collect(*Submit("a", Reading(1100), "r", milliseconds(60000))).finished;
    EXPECT_TRUE(read.status.ok()) << read.status;
    seconds_per_token = std::min(seconds_per_token, read.timings.prefill / 1100);
  }
  // A small part of what it takes, for the engine goes by its fastest step, and on a busy machine that is many times
  // faster than the rest. It may also be too late before the engine has looked: one time that it has is enough.
  const milliseconds deadline(static_cast<int64_t>(2500 * seconds_per_token / 200 * 1000) + 1);
  bool was_looked_at = false;
  for (int i = 0; i < 200 && !was_looked_at; ++i) {
    const int64_t steps = engine_->Stats().steps;
    const Outcome outcome = Collect(*Submit("a", Reading(2500), "r", deadline));
    EXPECT_EQ(outcome.finished.reason, FinishReason::kDeadline);
    EXPECT_EQ(outcome.finished.status.code(), absl::StatusCode::kDeadlineExceeded);
    const std::string message(outcome.finished.status.message());
    was_looked_at = message.find("2500 tokens") != message.npos && message.find("not begun") != message.npos;
    if (was_looked_at) {
      EXPECT_EQ(engine_->Stats().steps, steps);
    }
  }
  EXPECT_TRUE(was_looked_at);
  EXPECT_TRUE(AllBlocksComeBack(*engine_));
  // The client is told before the engine has put the request away.
  for (int i = 0; i < 10000 && engine_->Stats().waiting > 0; ++i) std::this_thread::sleep_for(milliseconds(2));
  EXPECT_EQ(engine_->Stats().waiting, 0);
  // What might just be done is tried.
  EXPECT_TRUE(Collect(*Submit("a", Reading(600), "r", milliseconds(20000))).finished.status.ok());
}

TEST_F(EngineOverloadTest, TellsWhoAsksWhatAndEndsIt) {
  Start();
  GenerateParams params = Ask("One, two, three,", 0);
  params.stopping.max_tokens = 100;  // not to its end: nobody takes its answer
  params.stopping.ignore_eos = true;
  params.position.kind = position::Rerope{64};
  const auto running = Submit("alice", params, "first");
  const RequestInfo first = WaitFor("first", RequestPhase::kDecode);
  EXPECT_EQ(first.client, "alice");
  EXPECT_EQ(first.priority, 5);
  EXPECT_EQ(first.rows, 1);
  EXPECT_EQ(first.prompt_tokens, 6);
  EXPECT_EQ(first.progress.tokens_read, 6);
  EXPECT_GE(first.progress.tokens_generated, 1);
  EXPECT_GT(first.progress.blocks, 0);
  EXPECT_GT(first.age, 0);
  EXPECT_EQ(std::get<position::Rerope>(first.position.kind).window, 64);
  const auto filling = Submit("alice", Filling(), "filling");
  WaitFor("filling", RequestPhase::kDecode);
  const auto waiting = Submit("bob", Reading(kMoreThanIsLeft), "second");
  EXPECT_EQ(WaitFor("second", RequestPhase::kWaiting).progress.blocks, 0);
  EXPECT_EQ(engine_->CancelRequest("nobody's"), 0);
  for (const char* id : {"second", "filling", "first"}) EXPECT_EQ(engine_->CancelRequest(id), 1);
  EXPECT_EQ(Collect(*waiting).finished.reason, FinishReason::kCancelled);
  for (const auto& stream : {filling, running}) {
    EXPECT_EQ(Collect(*stream).finished.reason, FinishReason::kCancelled);
  }
  EXPECT_TRUE(engine_->ListRequests().empty());
}

TEST_F(EngineOverloadTest, EndsARequestThatIsBeingTokenized) {
  Start();
  const auto stream =
      Submit("a", Ask(std::string(static_cast<size_t>(engine_->model().cache_tokens) * 60, ' '), 1), "slow");
  const std::vector<RequestInfo> all = engine_->ListRequests();
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].rows, 0);
  EXPECT_EQ(engine_->CancelRequest("slow"), 1);
  EXPECT_EQ(Collect(*stream).finished.status.code(), absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace longhaul
