// The engine on a runner that takes a step while the one before it has not been collected: the same answers, whatever
// happens in between.

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "tests/engine/engine_fixture.h"
#include "tests/support/fake_engine.h"

namespace longhaul {
namespace {

FakeRunner::Options Ahead(bool ahead) {
  FakeRunner::Options options;
  options.one_step_ahead = ahead;
  return options;
}

// What must not depend on how steps are run.
void ExpectSame(const Outcome& one, const Outcome& other) {
  EXPECT_EQ(one.text, other.text);
  EXPECT_EQ(one.ids, other.ids);
  EXPECT_EQ(one.logprobs, other.logprobs);
  EXPECT_EQ(one.finished.reason, other.finished.reason);
  EXPECT_EQ(one.finished.usage.completion_tokens, other.finished.usage.completion_tokens);
}

GenerateParams Sampled(std::string text, int64_t max_tokens, uint64_t seed) {
  GenerateParams params = Ask(std::move(text), max_tokens);
  params.sampling.temperature = 5;
  params.sampling.repetition_penalty = 1.3f;
  params.sampling.frequency_penalty = 0.5f;
  params.seed = seed;
  return params;
}

TEST(OneStepAhead, IsOneAndOnlyWhereTheRunnerGainsByIt) {
  for (const bool ahead : {false, true}) {
    FakeEngine fake({}, Ahead(ahead));
    EXPECT_EQ(AnswerTo(*fake.engine, Ask("a", 20)).text, "bcdefghijklmnopqrstu");
    EXPECT_EQ(fake.runner->max_in_flight(), ahead ? 2 : 1);
  }
}

TEST(OneStepAhead, NeverSchedulesPastMaxTokens) {
  FakeEngine fake({}, Ahead(true));
  AnswerTo(*fake.engine, Ask("abc", 5));
  EXPECT_EQ(fake.runner->submitted(), 5) << "one for the prompt and the first token, one for each further token";
}

TEST(OneStepAhead, ATokenThatEndsTheAnswerIsFollowedByNone) {
  FakeEngine fake({}, Ahead(true));
  GenerateParams params = Ask("a", 20);
  params.stopping.stop = {"ef"};
  Outcome outcome = AnswerTo(*fake.engine, params);
  EXPECT_EQ(outcome.text, "bcd");
  EXPECT_EQ(outcome.finished.reason, FinishReason::kStop);
  params.stopping.stop.clear();
  params.stopping.stop_token_ids = {'e'};
  outcome = AnswerTo(*fake.engine, params);
  EXPECT_EQ(outcome.text, "bcd");
  outcome = AnswerTo(*fake.engine, Ask("The end.", 20));
  EXPECT_EQ(outcome.text, "");
  EXPECT_EQ(outcome.finished.reason, FinishReason::kEos);
}

// Penalties see the token that was drawn and not told; random numbers go by its index.
TEST(OneStepAhead, SampledAnswersAreTheSame) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    std::vector<Outcome> outcomes;
    for (const bool ahead : {false, true}) {
      FakeEngine fake({}, Ahead(ahead));
      outcomes.push_back(AnswerTo(*fake.engine, Sampled("some text", 30, seed)));
    }
    ExpectSame(outcomes[0], outcomes[1]);
  }
}

TEST(OneStepAhead, DocumentsAreChosenAsWithoutIt) {
  GenerateParams params = Sampled("What is it?", 25, 3);
  params.contexts = Contexts();
  params.contexts->source = std::vector<Document>{{"one", "first text"}, {"two", "second"}, {"three", "the third"}};
  params.contexts->document_template = "{document}{question}";
  params.output.entropies = true;
  std::vector<Outcome> outcomes;
  std::vector<std::vector<DocumentUse>> uses;
  for (const bool ahead : {false, true}) {
    FakeEngine fake({}, Ahead(ahead));
    outcomes.push_back(AnswerTo(*fake.engine, params));
    EXPECT_TRUE(outcomes.back().finished.status.ok()) << outcomes.back().finished.status;
    uses.push_back(outcomes.back().finished.documents);
    EXPECT_EQ(fake.runner->max_in_flight(), ahead ? 2 : 1);
  }
  ExpectSame(outcomes[0], outcomes[1]);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(uses[0][i].tokens, uses[1][i].tokens);
    EXPECT_EQ(uses[0][i].mean_entropy, uses[1][i].mean_entropy);
  }
}

// Many requests of all kinds at once, in a cache so small that they are preempted.
TEST(OneStepAhead, AnswersUnderLoadAreTheSame) {
  std::mt19937 random(1);
  std::vector<std::variant<GenerateParams, ScoreParams>> requests;
  for (int i = 0; i < 60; ++i) {
    const std::string text = "request " + std::to_string(i % 7) + std::string(random() % 40, 'x');
    if (i % 6 == 5) {
      ScoreParams score;
      score.prompt = TextPrompt{text};
      score.top_logprobs = 2;
      requests.emplace_back(score);
      continue;
    }
    GenerateParams params = Sampled(text, 1 + static_cast<int64_t>(random() % 40), random());
    if (i % 4 == 0) params.samples = 3;
    if (i % 5 == 0) params.stopping.min_tokens = 1;
    requests.emplace_back(params);
  }
  std::vector<std::vector<Outcome>> outcomes;
  for (const bool ahead : {false, true}) {
    FakeRunner::Options options = Ahead(ahead);
    options.geometry.n_blocks = 90;
    FakeEngine fake({}, options);
    std::vector<std::shared_ptr<EventStream>> streams;
    for (const auto& request : requests) streams.push_back(Start(*fake.engine, request));
    outcomes.emplace_back();
    for (const auto& stream : streams) outcomes.back().push_back(Collect(*stream));
    EXPECT_GT(fake.engine->telemetry().preemptions.value(), 0);
    EXPECT_EQ(fake.runner->max_in_flight(), ahead ? 2 : 1);
    EXPECT_TRUE(fake.engine->Drain(std::chrono::hours(1)));
  }
  for (size_t i = 0; i < requests.size(); ++i) {
    SCOPED_TRACE(i);
    ASSERT_TRUE(outcomes[0][i].finished.status.ok()) << outcomes[0][i].finished.status;
    ExpectSame(outcomes[0][i], outcomes[1][i]);
  }
}

}  // namespace
}  // namespace longhaul
