// Several answers to one prompt: each is the one that its seed and number give alone, and the prompt is read once.

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tests/engine/fake_engine_fixture.h"
#include "tests/support/small_model.h"

namespace longhaul {
namespace {

struct Answer {
  std::string text;
  std::vector<TokenId> ids;
  std::vector<float> logprobs;
  std::optional<FinishReason> ended;
};

struct Answers {
  std::map<size_t, Answer> of;  // by sample
  Started started;
  Finished finished;
};

Answers CollectAnswers(EventStream& stream) {
  Answers answers;
  while (std::optional<Event> event = stream.Next()) {
    if (const auto* started = std::get_if<Started>(&*event)) answers.started = *started;
    if (const auto* finished = std::get_if<Finished>(&*event)) answers.finished = *finished;
    const auto* chunk = std::get_if<Chunk>(&*event);
    if (chunk == nullptr) continue;
    Answer& answer = answers.of[chunk->sample];
    EXPECT_FALSE(answer.ended.has_value()) << "a chunk after the last one of answer " << chunk->sample;
    answer.ended = chunk->ended;
    answer.text += chunk->text;
    for (const ChunkToken& token : chunk->tokens) {
      answer.ids.push_back(token.id);
      answer.logprobs.push_back(token.logprob.value_or(1));
    }
  }
  return answers;
}

GenerateParams AskForSamples(int64_t prompt_tokens, int64_t samples, int64_t max_tokens) {
  GenerateParams params = Ask("", max_tokens);
  std::vector<TokenId> ids;
  for (int64_t i = 0; i < prompt_tokens; ++i) ids.push_back(static_cast<TokenId>(1 + (i * 37) % 249));
  params.prompt = TokenPrompt{ids};
  params.sampling.temperature = 5;
  params.seed = 11;
  params.samples = samples;
  return params;
}

void ExpectEachAsAlone(Engine& engine, const GenerateParams& params, const Answers& together) {
  ASSERT_EQ(static_cast<int64_t>(together.of.size()), params.samples) << together.finished.status;
  int64_t tokens = 0;
  for (const auto& [sample, answer] : together.of) {
    GenerateParams alone = params;
    alone.samples = 1;
    alone.first_sample = params.first_sample + sample;
    const Outcome outcome = AnswerTo(engine, alone);
    EXPECT_EQ(answer.text, outcome.text) << "answer " << sample;
    EXPECT_EQ(answer.ids, outcome.ids);
    EXPECT_EQ(answer.logprobs, outcome.logprobs) << "to the bit";
    EXPECT_EQ(answer.ended, outcome.finished.reason);
    tokens += outcome.finished.usage.completion_tokens;
  }
  EXPECT_EQ(together.finished.usage.completion_tokens, tokens);
  EXPECT_EQ(together.finished.reason, together.of.at(0).ended);
}

using SamplesTest = FakeEngineTest;
INSTANTIATE_TEST_SUITE_P(, SamplesTest, ::testing::Bool(), StepsName);

void ExpectFourDistinct(const Answers& answers) {
  std::vector<std::vector<TokenId>> distinct;
  for (const auto& [sample, answer] : answers.of) distinct.push_back(answer.ids);
  std::sort(distinct.begin(), distinct.end());
  EXPECT_GE(std::unique(distinct.begin(), distinct.end()) - distinct.begin(), 4) << "they are drawn apart";
}

TEST_P(SamplesTest, EachAnswerIsTheOneOfItsSeedAndNumberAlone) {
  GenerateParams params = AskForSamples(100, 5, 24);
  params.sampling.frequency_penalty = 0.5f;
  params.stopping.stop_token_ids = {'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j'};  // they end at different steps
  params.stopping.min_tokens = 2;
  const Answers together = CollectAnswers(*Submit(params));
  ExpectEachAsAlone(engine(), params, together);
  ExpectFourDistinct(together);
  ExpectAllFree(engine());
}

TEST_P(SamplesTest, NumbersMayBeginAnywhere) {
  GenerateParams params = AskForSamples(20, 2, 8);
  params.first_sample = 41;
  ExpectEachAsAlone(engine(), params, CollectAnswers(*Submit(params)));
}

TEST_P(SamplesTest, ThePromptIsReadOnceAndItsBlocksAreShared) {
  runner_options_.geometry.n_blocks = 100;
  const int64_t prompt = 200;  // half of what the cache holds
  const GenerateParams params = AskForSamples(prompt, 4, 8);
  const Answers together = CollectAnswers(*Submit(params));
  EXPECT_EQ(together.finished.usage.prompt_tokens, prompt);
  EXPECT_EQ(together.finished.usage.cached_tokens, 0);
  // Four prompts would need twice the cache; and of each further answer less than a block is computed.
  EXPECT_EQ(engine().telemetry().preemptions.value(), 0);
  const int64_t block = runner_options_.geometry.block_tokens;
  EXPECT_LT(engine().Stats().prefill_tokens + engine().Stats().decode_tokens, prompt + 3 * block + 4 * 8);
  ExpectEachAsAlone(engine(), params, together);
}

TEST_P(SamplesTest, WhereThereIsNoRoomForAllTheyComeOneAfterTheOther) {
  runner_options_.geometry.n_blocks = 75;
  GenerateParams params = AskForSamples(200, 6, 64);
  params.stopping.ignore_eos = true;
  const Answers together = CollectAnswers(*Submit(params));
  EXPECT_GT(engine().telemetry().preemptions.value(), 0);
  ExpectEachAsAlone(engine(), params, together);
  ExpectAllFree(engine());
}

TEST_P(SamplesTest, WithoutACacheOfPrefixesTheyAreTheSame) {
  options_.prefix_cache = false;
  const GenerateParams params = AskForSamples(50, 3, 8);
  ExpectEachAsAlone(engine(), params, CollectAnswers(*Submit(params)));
}

TEST_P(SamplesTest, CancellingEndsThemAll) {
  GenerateParams params = AskForSamples(50, 17, 400);
  params.stopping.ignore_eos = true;
  const auto stream = Submit(params);
  for (int chunks = 0; chunks < 40; ++chunks) Await<Chunk>(*stream);
  engine().Cancel(*stream);
  EXPECT_EQ(CollectAnswers(*stream).finished.reason, FinishReason::kCancelled);
  ExpectAllFree(engine());
}

TEST_P(SamplesTest, OfAPromptThatIsOnlyReadThereIsOne) {
  const Answers answers = CollectAnswers(*Submit(AskForSamples(50, 3, 0)));
  EXPECT_TRUE(answers.of.empty());
  EXPECT_EQ(answers.finished.reason, FinishReason::kLength);
}

// What is computed of a prompt once is what each answer would compute of it alone, to the bit.
TEST(SamplesOfAModel, EachAnswerIsTheOneOfItsSeedAndNumberAlone) {
  EngineOptions options;
  options.model_path = SmallModelPath();
  options.kv_cache_bytes = int64_t{64} << 20;
  const auto engine = MakeEngine(options);
  GenerateParams params = AskForSamples(100, 5, 24);
  params.sampling.temperature = 1.2f;
  params.sampling.frequency_penalty = 0.5f;
  params.stopping.stop = {"e"};
  params.stopping.min_tokens = 2;
  const Answers together = CollectAnswers(*Start(*engine, params));
  ExpectEachAsAlone(*engine, params, together);
  ExpectFourDistinct(together);
  ExpectAllFree(*engine);
}

}  // namespace
}  // namespace longhaul
