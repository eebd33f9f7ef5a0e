// The engine's front door on the default model: what a request may ask for, how it ends, and what is refused.

#include "engine/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "engine/base/overload.h"
#include "tests/engine/engine_fixture.h"

namespace longhaul {
namespace {

using std::chrono::milliseconds;
using ::testing::AllOf;
using ::testing::HasSubstr;

class EngineTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    EngineOptions options;
    options.kv_cache_bytes = int64_t{64} << 20;
    options.max_queue = 4;
    engine_ = MakeEngine(options);
  }
  static void TearDownTestSuite() { engine_.reset(); }

  // Runs until it is cancelled, practically.
  static GenerateParams Endless() {
    GenerateParams params = Ask("One, two, three,", 2000);
    params.stopping.ignore_eos = true;
    return params;
  }
  static void ExpectRefused(std::variant<GenerateParams, ScoreParams> params, absl::StatusCode code,
                            const ::testing::Matcher<std::string>& message) {
    const Outcome outcome = AnswerTo(*engine_, std::move(params));
    EXPECT_TRUE(outcome.finished.refused);
    EXPECT_EQ(outcome.finished.status.code(), code) << outcome.finished.status;
    EXPECT_THAT(std::string(outcome.finished.status.message()), message);
  }
  static void ExpectAllFree() {
    EXPECT_TRUE(AllBlocksComeBack(*engine_));
    EXPECT_EQ(engine_->Stats().waiting, 0);
  }

  static std::unique_ptr<Engine> engine_;
};
std::unique_ptr<Engine> EngineTest::engine_;

TEST_F(EngineTest, AnswersAndSaysWhatItUsed) {
  GenerateParams params = Ask("The capital of France is", 8);
  const Outcome outcome = AnswerTo(*engine_, params);
  EXPECT_THAT(outcome.text, HasSubstr("Paris"));
  EXPECT_EQ(outcome.finished.reason, FinishReason::kLength);
  EXPECT_TRUE(outcome.finished.status.ok());
  EXPECT_EQ(outcome.finished.usage.prompt_tokens, 5);
  EXPECT_EQ(outcome.finished.usage.completion_tokens, 8);
  EXPECT_EQ(outcome.ids.size(), 8u);
  EXPECT_EQ(outcome.logprobs.size(), 8u);
  EXPECT_GT(outcome.finished.timings.first_token, 0);
  EXPECT_EQ(outcome.started.reach, 8192);
  EXPECT_EQ(*engine_->Detokenize(outcome.ids, false, outcome.text.size()), outcome.text);
  EXPECT_THAT(std::string(engine_->Detokenize(outcome.ids, false, outcome.text.size() - 1).status().message()),
              HasSubstr("token_ids: "));
}

TEST_F(EngineTest, TheFirstTokenHasNoGap) {
  const auto figures = [](Engine& engine) {
    const RequestTelemetry& r = engine.telemetry().Of({.kind = position::None()}, DecodingKind::kPlain);
    return std::vector<int64_t>{r.time_to_first_token.Read().count(), r.inter_token_latency.Read().count(),
                                r.generated.value()};
  };
  const std::vector<int64_t> before = figures(*engine_);
  AnswerTo(*engine_, Ask("The capital of France is", 8));
  std::vector<int64_t> added = figures(*engine_);
  for (size_t i = 0; i < added.size(); ++i) added[i] -= before[i];
  EXPECT_THAT(added, ::testing::ElementsAre(1, 7, 8));
}

TEST_F(EngineTest, AChatEndsWithTheTurn) {
  GenerateParams params = Ask("", 100);
  params.prompt = ChatPrompt{{{"user", "Say hello in one short sentence."}}};
  const Outcome outcome = AnswerTo(*engine_, params);
  EXPECT_EQ(outcome.finished.reason, FinishReason::kEos);
  EXPECT_THAT(outcome.text, Not(HasSubstr("<|im_end|>")));
  EXPECT_FALSE(outcome.text.empty());
}

TEST_F(EngineTest, TopLogprobsHoldTheChosenTokenFirstWhenGreedy) {
  GenerateParams params = Ask("The capital of France is", 4);
  params.output.logprobs = 3;
  const Outcome outcome = AnswerTo(*engine_, params);
  ASSERT_EQ(outcome.top.size(), 4u);
  for (size_t i = 0; i < 4; ++i) {
    ASSERT_EQ(outcome.top[i].size(), 3u);
    EXPECT_EQ(outcome.top[i][0].id, outcome.ids[i]);
    EXPECT_EQ(outcome.top[i][0].logprob, outcome.logprobs[i]);
    EXPECT_GE(outcome.top[i][0].logprob, outcome.top[i][1].logprob);
  }
}

TEST_F(EngineTest, AStopStringEndsTheAnswerBeforeItself) {
  GenerateParams params = Ask("One, two, three, four,", 40);
  const std::string whole = AnswerTo(*engine_, params).text;
  ASSERT_GT(whole.size(), 12u);
  params.stopping.stop = {"never in there", whole.substr(7, 5)};
  const Outcome outcome = AnswerTo(*engine_, params);
  EXPECT_EQ(outcome.finished.reason, FinishReason::kStop);
  EXPECT_EQ(outcome.text, whole.substr(0, whole.find(whole.substr(7, 5))));
}

TEST_F(EngineTest, AStopTokenEndsTheAnswerAndMinTokensHoldsItOff) {
  GenerateParams params = Ask("The capital of France is", 12);
  const Outcome whole = AnswerTo(*engine_, params);
  params.stopping.stop_token_ids = {whole.ids[0]};
  Outcome outcome = AnswerTo(*engine_, params);
  EXPECT_EQ(outcome.finished.reason, FinishReason::kStop);
  EXPECT_TRUE(outcome.ids.empty());
  params.stopping.min_tokens = 3;
  outcome = AnswerTo(*engine_, params);
  EXPECT_GE(outcome.ids.size(), 3u);
  EXPECT_NE(outcome.ids[0], whole.ids[0]);
}

TEST_F(EngineTest, MinTokensAboveTheDefaultRaisesItAndNeverExceedsWhatIsLeft) {
  GenerateParams params = Ask("The capital of France is", 0);
  params.position.kind = position::None();
  params.stopping.max_tokens.reset();
  params.stopping.min_tokens = 300;
  const Outcome outcome = AnswerTo(*engine_, params);
  EXPECT_EQ(outcome.started.max_tokens, 300);
  EXPECT_EQ(outcome.ids.size(), 300u);
  params.stopping.min_tokens = 100000;
  ExpectRefused(params, absl::StatusCode::kInvalidArgument,
                AllOf(HasSubstr("stopping.min_tokens: 100000"), HasSubstr("5"),
                      HasSubstr(std::to_string(engine_->model().cache_tokens - 5))));
  params.stopping.max_tokens = 3;
  params.stopping.min_tokens = 4;
  ExpectRefused(params, absl::StatusCode::kInvalidArgument, HasSubstr("stopping.min_tokens: 4"));
}

// In a cache that holds one of them at a time, the later request of larger priority is served before the earlier one.
TEST(EnginePriority, LargerGoesFirst) {
  EngineOptions options;
  const int64_t token_bytes = (int64_t{512} << 20) / MakeEngine(options)->model().cache_tokens;
  options.kv_cache_bytes = token_bytes * 160;
  const auto engine = MakeEngine(options);
  const auto ask = [&](TokenId first, int32_t priority, size_t prompt_tokens = 100) {
    GenerateParams params = Ask("", 120 - static_cast<int64_t>(prompt_tokens));
    params.prompt = TokenPrompt{std::vector<TokenId>(prompt_tokens, first)};
    params.stopping.ignore_eos = true;
    Request request;
    request.params = params;
    request.priority = priority;
    return engine->Submit(std::move(request), nullptr);
  };
  const auto running = ask(1000, 0, 70);  // for a while, but nobody takes its answer
  while (engine->Stats().running == 0) std::this_thread::sleep_for(milliseconds(1));
  const auto low = ask(2000, -5), high = ask(3000, 5);
  const Outcome of_high = Collect(*high);
  Collect(*running);
  const Outcome of_low = Collect(*low);
  EXPECT_EQ(of_high.finished.reason, FinishReason::kLength);
  EXPECT_EQ(of_low.finished.reason, FinishReason::kLength);
  EXPECT_GT(of_low.finished.timings.queue, of_high.finished.timings.queue + of_high.finished.timings.decode);
}

TEST_F(EngineTest, ASeedDecidesAndIsTold) {
  GenerateParams params = Ask("Once upon a time", 12);
  params.sampling.temperature = 1;
  const Outcome first = AnswerTo(*engine_, params);
  params.seed = first.started.seed;
  EXPECT_EQ(AnswerTo(*engine_, params).text, first.text);
  params.seed = first.started.seed + 1;
  EXPECT_NE(AnswerTo(*engine_, params).text, first.text);
}

TEST_F(EngineTest, MaxTokensZeroReadsThePromptAndSaysNothing) {
  const Outcome outcome = AnswerTo(*engine_, Ask("The capital of France is", 0));
  EXPECT_EQ(outcome.finished.reason, FinishReason::kLength);
  EXPECT_TRUE(outcome.ids.empty());
  EXPECT_TRUE(outcome.finished.status.ok());
}

TEST_F(EngineTest, CancellingFreesTheBlocks) {
  const auto stream = Start(*engine_, Endless());
  while (!std::holds_alternative<Chunk>(*stream->Next())) {
  }
  EXPECT_GT(engine_->Stats().blocks_used, 0);
  engine_->Cancel(*stream);
  const Outcome outcome = Collect(*stream);
  EXPECT_EQ(outcome.finished.reason, FinishReason::kCancelled);
  EXPECT_EQ(outcome.finished.status.code(), absl::StatusCode::kCancelled);
  ExpectAllFree();
}

TEST_F(EngineTest, ADeadlineEndsARequestThatRunsAndOneThatWaits) {
  Request running;
  running.params = Endless();
  running.deadline = Clock::now() + milliseconds(1000);
  Request waiting = running;
  std::get<GenerateParams>(waiting.params).stopping.max_tokens = 2500;  // does not fit beside the other
  const auto first = engine_->Submit(running, nullptr);
  const auto second = engine_->Submit(waiting, nullptr);
  const Outcome ran = Collect(*first), waited = Collect(*second);
  EXPECT_EQ(ran.finished.reason, FinishReason::kDeadline);
  EXPECT_GT(ran.ids.size(), 0u);
  EXPECT_EQ(waited.finished.status.code(), absl::StatusCode::kDeadlineExceeded);
  ExpectAllFree();
}

TEST_F(EngineTest, AFullQueueRefusesAndLivesOn) {
  std::vector<std::shared_ptr<EventStream>> streams;
  for (int i = 0; i < 12; ++i) streams.push_back(Start(*engine_, Endless()));
  while (!std::holds_alternative<Chunk>(*streams[0]->Next())) {
  }
  for (const auto& stream : streams) engine_->Cancel(*stream);
  int refused = 0;
  for (const auto& stream : streams) {
    const Outcome outcome = Collect(*stream);
    if (outcome.finished.status.code() == absl::StatusCode::kCancelled) continue;
    ++refused;
    EXPECT_TRUE(outcome.finished.refused);
    EXPECT_EQ(outcome.finished.status.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_THAT(std::string(outcome.finished.status.message()), HasSubstr("--max-queue"));
  }
  EXPECT_GT(refused, 0);
  EXPECT_LT(refused, 12);
  ExpectAllFree();
  EXPECT_EQ(AnswerTo(*engine_, Ask("Still", 2)).finished.reason, FinishReason::kLength);
}

TEST_F(EngineTest, RefusesWhatCanNeverFitWithTheNumbers) {
  GenerateParams params = Ask("The capital of France is", 9000);
  params.position.kind = position::None();
  ExpectRefused(params, absl::StatusCode::kInvalidArgument,
                AllOf(HasSubstr("stopping.max_tokens"), HasSubstr("5 tokens"), HasSubstr("9000"),
                      HasSubstr(std::to_string(engine_->model().cache_tokens))));
  ScoreParams score;
  score.prompt = TokenPrompt{std::vector<TokenId>(9000, 5)};
  ExpectRefused(score, absl::StatusCode::kInvalidArgument, AllOf(HasSubstr("prompt"), HasSubstr("9000")));
  // A window that holds everything keeps every key twice: half as much again, so two thirds of the tokens.
  params.position.kind = position::Rerope{8192};
  ExpectRefused(params, absl::StatusCode::kInvalidArgument,
                HasSubstr(std::to_string(engine_->model().cache_tokens / 16 * 2 / 3 * 16)));
}

TEST_F(EngineTest, RefusesATextThatIsTooLongWithoutTokenizingIt) {
  const std::string most = std::to_string(engine_->model().cache_tokens);
  const auto begin = Clock::now();
  ExpectRefused(Ask(std::string(size_t{60} << 20, ' '), 1), absl::StatusCode::kInvalidArgument,
                AllOf(HasSubstr("prompt.text"), HasSubstr("62914560 bytes"), HasSubstr(most)));
  GenerateParams params = Ask("", 1);
  params.prompt = ChatPrompt{{{"user", std::string(size_t{30} << 20, ' ')}, {"user", std::string(100, ' ')}}};
  ExpectRefused(params, absl::StatusCode::kInvalidArgument,
                AllOf(HasSubstr("prompt.chat"), HasSubstr("31457380 bytes"), HasSubstr(most)));
  params.prompt = TokenPrompt{std::vector<TokenId>(1 << 20, 5)};
  ExpectRefused(params, absl::StatusCode::kInvalidArgument,
                AllOf(HasSubstr("prompt.token_ids"), HasSubstr("1048576"), HasSubstr(most)));
  // To their end they would take a minute.
  EXPECT_LT(Clock::now() - begin, std::chrono::seconds(15));
}

TEST_F(EngineTest, RefusesBadPromptsNamingTheField) {
  GenerateParams params = Ask("", 4);
  ExpectRefused(params, absl::StatusCode::kInvalidArgument, HasSubstr("prompt.text"));
  params.prompt = TokenPrompt{{5, -1}};
  ExpectRefused(params, absl::StatusCode::kInvalidArgument,
                AllOf(HasSubstr("prompt.token_ids.ids[1]"), HasSubstr("-1"), HasSubstr("49151")));
  params.prompt = TokenPrompt{{49152}};
  ExpectRefused(params, absl::StatusCode::kInvalidArgument, HasSubstr("49152"));
  params.prompt = TokenPrompt{};
  ExpectRefused(params, absl::StatusCode::kInvalidArgument, HasSubstr("empty"));
  params.prompt = TextPrompt{"ab\xff"};
  ExpectRefused(params, absl::StatusCode::kInvalidArgument, AllOf(HasSubstr("prompt.text"), HasSubstr("UTF-8")));
  params.prompt = ChatPrompt{{{"wizard", "hello"}}};
  ExpectRefused(params, absl::StatusCode::kInvalidArgument, HasSubstr("messages[0].role"));
  params.prompt = ChatPrompt{};
  ExpectRefused(params, absl::StatusCode::kInvalidArgument, HasSubstr("prompt.chat"));
  params = Ask("a", 4);
  params.stopping.stop_token_ids = {1 << 20};
  ExpectRefused(params, absl::StatusCode::kInvalidArgument, HasSubstr("stopping.stop_token_ids[0]"));
  ScoreParams score;
  score.prompt = TextPrompt{"a"};
  ExpectRefused(score, absl::StatusCode::kInvalidArgument, HasSubstr("at least 2"));
  score.prompt = TextPrompt{"a b c d"};
  score.from_token = 4;
  ExpectRefused(score, absl::StatusCode::kInvalidArgument, HasSubstr("from_token"));
}

TEST_F(EngineTest, ScoresTheAskedTokensOnly) {
  ScoreParams score;
  score.prompt = TextPrompt{"The capital of France is Paris."};
  const Outcome all = AnswerTo(*engine_, score);
  EXPECT_EQ(all.logprobs.size(), 6u);
  score.last_tokens = 2;
  score.top_logprobs = 2;
  const Outcome last = AnswerTo(*engine_, score);
  EXPECT_EQ(last.logprobs, std::vector<float>(all.logprobs.end() - 2, all.logprobs.end()));
  EXPECT_EQ(last.top[0].size(), 2u);
}

class SlowReaderTest : public ::testing::Test {
 protected:
  static std::unique_ptr<Engine> EngineWith(milliseconds stall_timeout) {
    EngineOptions options;
    options.kv_cache_bytes = int64_t{64} << 20;
    options.events_per_stream = 8;
    options.stream_stall_timeout = stall_timeout;
    return MakeEngine(options);
  }
  static GenerateParams Long() {
    GenerateParams params = Ask("One, two, three,", 150);
    params.stopping.ignore_eos = true;
    return params;
  }
  // Tokens decoded until none comes for a while.
  static int64_t DecodedAtRest(const Engine& engine) {
    int64_t decoded = 0;
    while (decoded == 0 || decoded != engine.Stats().decode_tokens) {
      decoded = engine.Stats().decode_tokens;
      std::this_thread::sleep_for(milliseconds(200));
    }
    return decoded;
  }
};

TEST_F(SlowReaderTest, IsNotScheduledStallsNobodyAndLosesNothing) {
  const auto engine = EngineWith(milliseconds(0));
  const auto slow = Start(*engine, Long());
  const int64_t decoded = DecodedAtRest(*engine);
  EXPECT_GT(decoded, 0);
  EXPECT_LE(decoded, 8);
  EXPECT_GT(engine->Stats().blocks_used, 0);
  EXPECT_EQ(AnswerTo(*engine, Ask("The capital of France is", 4)).ids.size(), 4u);
  const Outcome late = Collect(*slow);
  EXPECT_EQ(late.ids.size(), 150u);
  const Outcome prompt = AnswerTo(*engine, Long());
  EXPECT_EQ(late.ids, prompt.ids);
  EXPECT_EQ(late.text, prompt.text);
}

TEST_F(SlowReaderTest, IsGivenUpAfterTheStallTimeout) {
  const auto engine = EngineWith(milliseconds(300));
  const auto begin = Clock::now();
  const auto slow = Start(*engine, Long());
  while (engine->Stats().blocks_used == 0) std::this_thread::sleep_for(milliseconds(1));
  EXPECT_TRUE(AllBlocksComeBack(*engine));
  EXPECT_GE(Clock::now() - begin, milliseconds(300));
  const Outcome outcome = Collect(*slow);
  EXPECT_EQ(outcome.finished.reason, FinishReason::kStalled);
  EXPECT_EQ(outcome.finished.status.code(), absl::StatusCode::kAborted);
  EXPECT_THAT(std::string(outcome.finished.status.message()), HasSubstr("--stream-stall-timeout"));
  EXPECT_EQ(static_cast<int64_t>(outcome.ids.size()), outcome.finished.usage.completion_tokens);
}

TEST_F(SlowReaderTest, IsNotGivenUpWhileItTakesSomethingNowAndThen) {
  const auto engine = EngineWith(milliseconds(1500));
  const auto slow = Start(*engine, Long());
  for (int i = 0; i < 8; ++i) {
    std::this_thread::sleep_for(milliseconds(250));
    ASSERT_TRUE(slow->TryNext().has_value());
  }
  EXPECT_EQ(Collect(*slow).finished.reason, FinishReason::kLength);
}

class ProgressTest : public ::testing::Test {
 protected:
  static std::vector<Progress> ProgressOf(std::variant<GenerateParams, ScoreParams> params) {
    EngineOptions options;
    options.max_batch_tokens = 32;
    options.progress_interval = milliseconds(0);
    options.step_target = std::chrono::hours(1);  // else a busy machine gets smaller steps
    const auto engine = MakeEngine(options);
    const auto stream = Start(*engine, std::move(params));
    std::vector<Progress> all;
    while (std::optional<Event> event = stream->Next()) {
      if (const auto* progress = std::get_if<Progress>(&*event)) all.push_back(*progress);
      if (const auto* finished = std::get_if<Finished>(&*event)) {
        EXPECT_TRUE(finished->status.ok());
      }
    }
    return all;
  }
  static TokenPrompt Long() { return TokenPrompt{std::vector<TokenId>(200, 504)}; }
};

TEST_F(ProgressTest, ComesWhileAPromptIsReadIfAskedFor) {
  GenerateParams params = Ask("", 3);
  params.prompt = Long();
  EXPECT_TRUE(ProgressOf(params).empty());
  params.output.progress = true;
  const std::vector<Progress> all = ProgressOf(params);
  ASSERT_EQ(all.size(), 6u);  // of seven steps, the last of which ends the prompt
  for (size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(all[i].prefilled_tokens, 32 * static_cast<int64_t>(i + 1));
    EXPECT_EQ(all[i].total_tokens, 200);
  }
}

TEST_F(ProgressTest, ComesWithEveryScore) {
  ScoreParams params;
  params.prompt = Long();
  const std::vector<Progress> all = ProgressOf(params);
  ASSERT_GE(all.size(), 2u);
  for (size_t i = 1; i < all.size(); ++i) EXPECT_GT(all[i].prefilled_tokens, all[i - 1].prefilled_tokens);
  EXPECT_EQ(all[0].total_tokens, 200);
}

TEST(EngineDrain, LetsRunningRequestsFinishAndRefusesNewOnes) {
  const auto engine = MakeEngine();
  const auto stream = Start(*engine, Ask("The capital of France is", 20));
  std::thread drain([&] { EXPECT_TRUE(engine->Drain(std::chrono::seconds(60))); });
  const Outcome outcome = Collect(*stream);
  drain.join();
  EXPECT_EQ(outcome.ids.size(), 20u);
  EXPECT_EQ(AnswerTo(*engine, Ask("x", 1)).finished.status.code(), absl::StatusCode::kUnavailable);
}

TEST(EngineDrain, EndsWhatIsLeftAfterTheTimeout) {
  const auto engine = MakeEngine();
  GenerateParams params = Ask("One, two,", 5000);
  params.stopping.ignore_eos = true;
  const auto stream = Start(*engine, params);
  std::thread reader([&] {
    const Finished finished = Collect(*stream).finished;
    EXPECT_EQ(finished.reason, FinishReason::kUnavailable);
    EXPECT_EQ(finished.status.code(), absl::StatusCode::kUnavailable);
    EXPECT_TRUE(RetryAfterOf(finished.status).has_value());
  });
  EXPECT_FALSE(engine->Drain(milliseconds(200)));
  reader.join();
}

TEST(EngineDrain, WaitsForTextsAndEndsThemToo) {
  const auto engine = MakeEngine();
  const Prompt slow = TextPrompt{std::string(size_t{8} << 20, ' ')};
  absl::Status first, second;
  const auto tokenize = [&](absl::Status& status) {
    return engine->RunOnTextPool([&] { status = engine->Tokenize(slow, false).status(); });
  };
  // More than there are threads, so that one waits.
  absl::Status others[8];
  ASSERT_TRUE(tokenize(first).ok());
  for (absl::Status& other : others) ASSERT_TRUE(tokenize(other).ok());
  ASSERT_TRUE(tokenize(second).ok());
  EXPECT_FALSE(engine->Drain(milliseconds(1)));
  EXPECT_EQ(first.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(second.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(tokenize(first).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(engine->Detokenize(std::vector<TokenId>{1}, false, 100).status().code(), absl::StatusCode::kUnavailable);
}

// Texts that take seconds to tokenize, and are wanted no more.
TEST(EngineText, NobodyWaitsForTextsThatAreNotWanted) {
  const auto engine = MakeEngine();
  const GenerateParams slow = Ask(std::string(static_cast<size_t>(engine->model().cache_tokens) * 60, ' '), 1);
  const auto begin = Clock::now();
  std::vector<std::shared_ptr<EventStream>> streams;
  for (int i = 0; i < 20; ++i) streams.push_back(Start(*engine, slow));
  for (size_t i = 0; i < 10; ++i) engine->Cancel(*streams[i]);
  Request late;
  late.params = slow;
  late.deadline = Clock::now() + milliseconds(50);
  streams.push_back(engine->Submit(late, nullptr));
  EXPECT_FALSE(engine->Drain(milliseconds(100)));
  // To their end they would take a minute.
  EXPECT_LT(Clock::now() - begin, std::chrono::seconds(15));
  for (size_t i = 0; i < 20; ++i) {
    EXPECT_EQ(Collect(*streams[i]).finished.status.code(),
              i < 10 ? absl::StatusCode::kCancelled : absl::StatusCode::kUnavailable);
  }
  EXPECT_EQ(Collect(*streams.back()).finished.status.code(), absl::StatusCode::kDeadlineExceeded);
}

TEST(EngineCreate, NamesTheFileThatIsNotThere) {
  EngineOptions options;
  options.model_path = "/nowhere/model.gguf";
  EXPECT_THAT(std::string(Engine::Create(options).status().message()), HasSubstr("/nowhere/model.gguf"));
}

}  // namespace
}  // namespace longhaul
