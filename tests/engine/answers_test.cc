// What becomes of an answer: where it ends, and what is told of it.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/engine/fake_engine_fixture.h"

namespace longhaul {
namespace {

using ::testing::HasSubstr;

using AnswersTest = FakeEngineTest;
INSTANTIATE_TEST_SUITE_P(, AnswersTest, ::testing::Bool(), StepsName);

TEST_P(AnswersTest, SayWhatTheyUsed) {
  const Outcome outcome = Answer(Ask("France", 8));
  EXPECT_EQ(outcome.text, "fghijklm");
  EXPECT_EQ(outcome.finished.reason, FinishReason::kLength);
  EXPECT_TRUE(outcome.finished.status.ok());
  EXPECT_FALSE(outcome.finished.refused);
  EXPECT_EQ(outcome.finished.usage.prompt_tokens, 6);
  EXPECT_EQ(outcome.finished.usage.completion_tokens, 8);
  EXPECT_EQ(outcome.ids.size(), 8u);
  EXPECT_EQ(outcome.logprobs.size(), 8u);
  EXPECT_EQ(outcome.started.reach, 512);
  EXPECT_EQ(outcome.started.max_tokens, 8);
  EXPECT_EQ(*engine().Detokenize(outcome.ids, false, outcome.text.size()), outcome.text);
  EXPECT_THAT(std::string(engine().Detokenize(outcome.ids, false, outcome.text.size() - 1).status().message()),
              HasSubstr("token_ids: "));
}

TEST_P(AnswersTest, SayHowLongTheyTook) {
  const Timings timings = Answer(Ask("France", 8)).finished.timings;  // eight steps of 1 ms
  EXPECT_EQ(timings.queue, 0);
  EXPECT_NEAR(timings.prefill, 0.001, 1e-9);
  EXPECT_NEAR(timings.first_token, 0.001, 1e-9);
  EXPECT_NEAR(timings.decode, 0.007, 1e-9);
}

TEST_P(AnswersTest, TheFirstTokenHasNoGap) {
  Answer(Ask("France", 8));
  const RequestTelemetry& r = engine().telemetry().Of({.kind = position::None()}, DecodingKind::kPlain);
  EXPECT_EQ(r.time_to_first_token.Read().count(), 1);
  EXPECT_EQ(r.inter_token_latency.Read().count(), 7);
  EXPECT_EQ(r.inter_token_latency.Read().sum, 7'000'000) << "nanoseconds";
  EXPECT_EQ(r.generated.value(), 8);
}

TEST_P(AnswersTest, TopLogprobsHoldTheChosenTokenFirstWhenGreedy) {
  GenerateParams params = Ask("France", 4);
  params.output.logprobs = 3;
  const Outcome outcome = Answer(params);
  ASSERT_EQ(outcome.top.size(), 4u);
  for (size_t i = 0; i < 4; ++i) {
    ASSERT_EQ(outcome.top[i].size(), 3u);
    EXPECT_EQ(outcome.top[i][0].id, outcome.ids[i]);
    EXPECT_EQ(outcome.top[i][0].logprob, outcome.logprobs[i]);
    EXPECT_GE(outcome.top[i][0].logprob, outcome.top[i][1].logprob);
    EXPECT_GE(outcome.top[i][1].logprob, outcome.top[i][2].logprob);
  }
}

TEST_P(AnswersTest, AStopStringEndsTheAnswerBeforeItself) {
  GenerateParams params = Ask("a", 25);
  params.stopping.stop = {"never in there", "ijklm"};
  const Outcome outcome = Answer(params);
  EXPECT_EQ(outcome.finished.reason, FinishReason::kStop);
  EXPECT_EQ(outcome.text, "bcdefgh");
}

TEST_P(AnswersTest, WhatCouldHaveBecomeAStopStringIsTold) {
  GenerateParams params = Ask("a", 4);
  params.stopping.stop = {"cdefg"};
  const Outcome outcome = Answer(params);
  EXPECT_EQ(outcome.finished.reason, FinishReason::kLength);
  EXPECT_EQ(outcome.text, "bcde");
}

TEST_P(AnswersTest, AStopTokenEndsTheAnswerAndMinTokensHoldsItOff) {
  GenerateParams params = Ask("a", 12);
  params.stopping.stop_token_ids = {'b'};
  Outcome outcome = Answer(params);
  EXPECT_EQ(outcome.finished.reason, FinishReason::kStop);
  EXPECT_TRUE(outcome.ids.empty());
  params.stopping.min_tokens = 3;
  outcome = Answer(params);
  EXPECT_GE(outcome.ids.size(), 3u);
  EXPECT_NE(outcome.ids[0], 'b');
}

TEST_P(AnswersTest, TheEndOfTheTextIsNotTold) {
  const Outcome outcome = Answer(Ask("The end.", 12));
  EXPECT_EQ(outcome.finished.reason, FinishReason::kEos);
  EXPECT_TRUE(outcome.ids.empty());
  EXPECT_EQ(outcome.text, "");
  GenerateParams params = Ask("The end.", 12);
  params.stopping.ignore_eos = true;
  EXPECT_EQ(Answer(params).ids.size(), 12u);
}

TEST_P(AnswersTest, MinTokensAboveTheDefaultRaisesItAndNeverExceedsWhatIsLeft) {
  runner_options_.geometry.n_blocks = 100;  // fewer tokens than the model was trained for
  GenerateParams params = Ask("abcde", 0);
  params.position.kind = position::None();
  params.stopping.max_tokens.reset();
  params.stopping.min_tokens = 300;
  const Outcome outcome = Answer(params);
  EXPECT_EQ(outcome.started.max_tokens, 300);
  EXPECT_EQ(outcome.ids.size(), 300u);
  params.stopping.min_tokens = 100000;
  const auto refusal = [&] {
    const Outcome refused = Answer(params);
    EXPECT_TRUE(refused.finished.refused);
    EXPECT_EQ(refused.finished.status.code(), absl::StatusCode::kInvalidArgument) << refused.finished.status;
    return std::string(refused.finished.status.message());
  };
  EXPECT_THAT(refusal(), ::testing::AllOf(HasSubstr("stopping.min_tokens: 100000"), HasSubstr("the prompt has 5"),
                                          HasSubstr("395 tokens that the answer may have")));
  params.stopping.max_tokens = 3;
  params.stopping.min_tokens = 4;
  EXPECT_THAT(refusal(), HasSubstr("stopping.min_tokens: 4"));
}

TEST_P(AnswersTest, ASeedDecidesAndIsTold) {
  GenerateParams params = Ask("Once upon a time", 12);
  params.sampling.temperature = 8;
  params.stopping.ignore_eos = true;
  const Outcome first = Answer(params);
  EXPECT_EQ(first.ids.size(), 12u);
  params.seed = first.started.seed;
  EXPECT_EQ(Answer(params).ids, first.ids);
  params.seed = first.started.seed + 1;
  EXPECT_NE(Answer(params).ids, first.ids);
}

TEST_P(AnswersTest, MaxTokensZeroReadsThePromptAndSaysNothing) {
  const Outcome outcome = Answer(Ask("France", 0));
  EXPECT_EQ(outcome.finished.reason, FinishReason::kLength);
  EXPECT_TRUE(outcome.ids.empty());
  EXPECT_TRUE(outcome.finished.status.ok());
  EXPECT_EQ(runner().submitted(), 1);
}

TEST_P(AnswersTest, ScoresTheAskedTokensOnly) {
  ScoreParams score;
  score.prompt = TextPrompt{"abcdxyz"};
  const Outcome all = Answer(score);
  ASSERT_EQ(all.logprobs.size(), 6u);
  for (size_t i = 0; i < 6; ++i) {
    // The alphabet goes on everywhere but from d to x.
    if (i == 3) {
      EXPECT_LT(all.logprobs[i], -8);
    } else {
      EXPECT_GT(all.logprobs[i], -0.1);
    }
  }
  score.last_tokens = 2;
  score.top_logprobs = 2;
  const Outcome last = Answer(score);
  EXPECT_EQ(last.logprobs, std::vector<float>(all.logprobs.end() - 2, all.logprobs.end()));
  EXPECT_EQ(last.top[0].size(), 2u);
  EXPECT_EQ(last.top[0][0].id, 'y');
}

// --- Progress ---

class ProgressTest : public FakeEngineTest {
 protected:
  std::vector<Progress> ProgressOf(std::variant<GenerateParams, ScoreParams> params) {
    options_.step_target = std::chrono::hours(1);
    options_.prefix_cache = false;
    runner_options_.limits = {.max_tokens = 32, .max_logit_rows = 32};
    const auto stream = Submit(std::move(params));
    std::vector<Progress> all;
    while (std::optional<Event> event = stream->Next()) {
      if (const auto* progress = std::get_if<Progress>(&*event)) all.push_back(*progress);
      if (const auto* finished = std::get_if<Finished>(&*event)) {
        EXPECT_TRUE(finished->status.ok());
      }
    }
    return all;
  }
  static TokenPrompt Long() { return TokenPrompt{std::vector<TokenId>(200, 'x')}; }
};
INSTANTIATE_TEST_SUITE_P(, ProgressTest, ::testing::Bool(), StepsName);

TEST_P(ProgressTest, ComesWhileAPromptIsReadIfAskedFor) {
  options_.progress_interval = milliseconds(0);
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

TEST_P(ProgressTest, ComesWithEveryScore) {
  options_.progress_interval = milliseconds(0);
  ScoreParams params;
  params.prompt = Long();
  const std::vector<Progress> all = ProgressOf(params);
  ASSERT_EQ(all.size(), 6u);
  for (size_t i = 0; i < all.size(); ++i) EXPECT_EQ(all[i].prefilled_tokens, 1 + 32 * static_cast<int64_t>(i + 1));
  EXPECT_EQ(all[0].total_tokens, 200);
}

TEST_P(ProgressTest, ComesNoMoreOftenThanItsInterval) {
  options_.progress_interval = milliseconds(3);  // of steps of 1 ms
  GenerateParams params = Ask("", 3);
  params.prompt = Long();
  params.output.progress = true;
  const std::vector<Progress> all = ProgressOf(params);
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].prefilled_tokens, 96);
  EXPECT_EQ(all[1].prefilled_tokens, 192);
}

}  // namespace
}  // namespace longhaul
