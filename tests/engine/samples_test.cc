// Several answers to one prompt: each is the one that its seed and number give alone, and the prompt is read once.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/backend/batch.h"
#include "tests/engine/engine_fixture.h"
#include "tests/support/small_model.h"

namespace longhaul {
namespace {

using ::testing::HasSubstr;

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
  for (int64_t i = 0; i < prompt_tokens; ++i) ids.push_back(static_cast<TokenId>(1000 + (i * 37) % 900));
  params.prompt = TokenPrompt{ids};
  params.sampling.temperature = 1.2f;
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

TEST(Samples, EachAnswerIsTheOneOfItsSeedAndNumberAlone) {
  const auto engine = MakeEngine();
  GenerateParams params = AskForSamples(100, 5, 24);
  params.sampling.frequency_penalty = 0.5f;
  params.stopping.stop = {"e"};  // so that they end at different steps
  params.stopping.min_tokens = 2;
  const Answers together = CollectAnswers(*Start(*engine, params));
  ExpectEachAsAlone(*engine, params, together);
  std::vector<std::vector<TokenId>> distinct;
  for (const auto& [sample, answer] : together.of) distinct.push_back(answer.ids);
  std::sort(distinct.begin(), distinct.end());
  EXPECT_GE(std::unique(distinct.begin(), distinct.end()) - distinct.begin(), 4) << "they are drawn apart";
  EXPECT_TRUE(AllBlocksComeBack(*engine));
}

TEST(Samples, NumbersMayBeginAnywhere) {
  const auto engine = MakeEngine();
  GenerateParams params = AskForSamples(20, 2, 8);
  params.first_sample = 41;
  ExpectEachAsAlone(*engine, params, CollectAnswers(*Start(*engine, params)));
}

TEST(Samples, ThePromptIsReadOnceAndItsBlocksAreShared) {
  EngineOptions options;
  options.kv_cache_bytes = int64_t{16} << 20;  // a few hundred tokens more than the prompt
  const auto engine = MakeEngine(options);
  const int64_t cached = engine->model().cache_tokens;
  ASSERT_GT(cached, 500);
  const int64_t prompt = cached / 2;
  const GenerateParams params = AskForSamples(prompt, 4, 8);
  const Answers together = CollectAnswers(*Start(*engine, params));
  EXPECT_EQ(together.finished.usage.prompt_tokens, prompt);
  EXPECT_EQ(together.finished.usage.cached_tokens, 0);
  // Four prompts would need twice the cache; and of each further answer less than a block is computed.
  EXPECT_EQ(engine->telemetry().preemptions.value(), 0);
  EXPECT_LT(engine->Stats().prefill_tokens + engine->Stats().decode_tokens, prompt + 3 * kBlock + 4 * 8);
  ExpectEachAsAlone(*engine, params, together);
}

TEST(Samples, WhereThereIsNoRoomForAllTheyComeOneAfterTheOther) {
  EngineOptions options;
  options.model_path = SmallModelPath();
  options.kv_cache_bytes = 300 * ((int64_t{512} << 20) / MakeEngine(options)->model().cache_tokens);
  const auto engine = MakeEngine(options);
  GenerateParams params = AskForSamples(engine->model().cache_tokens - 100, 6, 64);
  params.stopping.ignore_eos = true;
  const Answers together = CollectAnswers(*Start(*engine, params));
  EXPECT_GT(engine->telemetry().preemptions.value(), 0);
  ExpectEachAsAlone(*engine, params, together);
  EXPECT_TRUE(AllBlocksComeBack(*engine));
}

TEST(Samples, WithoutACacheOfPrefixesTheyAreTheSame) {
  EngineOptions options;
  options.prefix_cache = false;
  const auto engine = MakeEngine(options);
  const GenerateParams params = AskForSamples(50, 3, 8);
  ExpectEachAsAlone(*engine, params, CollectAnswers(*Start(*engine, params)));
}

TEST(Samples, CancellingEndsThemAll) {
  const auto engine = MakeEngine();
  GenerateParams params = AskForSamples(50, 17, 5000);
  params.stopping.ignore_eos = true;
  const auto stream = Start(*engine, params);
  for (int chunks = 0; chunks < 40;) {
    const std::optional<Event> event = stream->Next();
    ASSERT_TRUE(event.has_value());
    if (std::holds_alternative<Chunk>(*event)) ++chunks;
  }
  engine->Cancel(*stream);
  EXPECT_EQ(CollectAnswers(*stream).finished.reason, FinishReason::kCancelled);
  EXPECT_TRUE(AllBlocksComeBack(*engine));
  EXPECT_EQ(engine->Stats().running, 0);
}

TEST(Samples, OfAPromptThatIsOnlyReadThereIsOne) {
  const auto engine = MakeEngine();
  const Answers answers = CollectAnswers(*Start(*engine, AskForSamples(50, 3, 0)));
  EXPECT_TRUE(answers.of.empty());
  EXPECT_EQ(answers.finished.reason, FinishReason::kLength);
}

TEST(Samples, NoMoreThanTheRowsThatCanRun) {
  EngineOptions options;
  options.max_rows = 4;
  const auto engine = MakeEngine(options);
  const Answers answers = CollectAnswers(*Start(*engine, AskForSamples(10, 5, 1)));
  EXPECT_EQ(answers.finished.status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(answers.finished.status.message()), HasSubstr("samples: 5 is not allowed"));
  EXPECT_TRUE(CollectAnswers(*Start(*engine, AskForSamples(10, 4, 1))).finished.status.ok());
}

TEST(Samples, MoreRowsThanAStepHoldsAreRefusedAtTheStart) {
  EngineOptions options;
  options.model_path = TestModelPath();
  options.max_rows = 300;
  options.max_batch_tokens = 256;
  const auto engine = Engine::Create(options);
  ASSERT_FALSE(engine.ok());
  EXPECT_THAT(std::string(engine.status().message()), HasSubstr("--max-rows: 300"));
}

}  // namespace
}  // namespace longhaul
