// Results are equal to the bit whatever runs beside a request, however its prompt was chunked and with any number of
// threads (engine/README.md, "Equal to the bit"): in every compute type with a small model, in the usual one with the
// default model and with small ones of every family and every type of weights.

#include <gtest/gtest.h>

#include <numeric>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/backend/batch.h"
#include "engine/backend/tensor_type.h"
#include "engine/base/instruction_set.h"
#include "engine/base/strings.h"
#include "engine/model/families/family.h"
#include "tests/engine/engine_fixture.h"
#include "tests/support/small_model.h"

namespace longhaul {
namespace {

constexpr size_t kLength = 105;  // of a text of some blocks

// `n` words of no meaning from the `from`-th on, some of which come again and again: the same in every run.
std::vector<TokenId> Words(size_t from, size_t n) {
  std::vector<TokenId> ids;
  uint32_t state = 1;
  while (ids.size() < from + n) {
    state = state * 1664525 + 1013904223;
    ids.push_back(500 + static_cast<TokenId>(state >> 30 == 0 ? state >> 8 & 15 : (state >> 8) % 5000));
  }
  return {ids.begin() + static_cast<ptrdiff_t>(from), ids.end()};
}

GenerateParams AskWords(size_t from, size_t n, int64_t max_tokens) {
  GenerateParams params = Ask("", max_tokens);
  params.prompt = TokenPrompt{Words(from, n)};
  params.stopping.ignore_eos = true;
  return params;
}

struct Case {
  std::string architecture;  // of a small model; empty: the default model
  TensorType type = TensorType::kQ4_1;
  ComputeType compute = ComputeType::kInt8;
  CacheType cache = CacheType::kBf16;
};

class SamenessTest : public ::testing::TestWithParam<Case> {
 protected:
  static EngineOptions Options() {
    EngineOptions options;
    if (const std::string& architecture = GetParam().architecture; !architecture.empty()) {
      options.model_path = SmallModelPath(architecture, GetParam().type);
    }
    options.compute_type = GetParam().compute;
    options.cache_type = GetParam().cache;
    return options;
  }
  static std::unique_ptr<Engine> EngineWith(int64_t max_batch_tokens, int threads, bool one_step_ahead = false) {
    EngineOptions options = Options();
    options.max_batch_tokens = max_batch_tokens;
    options.threads = threads;
    options.one_step_ahead = one_step_ahead;
    return MakeEngine(options);
  }
};

std::vector<float> Scores(Engine& engine, const Prompt& prompt) {
  ScoreParams params;
  params.prompt = prompt;
  return AnswerTo(engine, params).logprobs;
}

TEST_P(SamenessTest, ChunksAndThreadsChangeNoBit) {
  const TokenPrompt text{Words(0, kLength)};
  const std::vector<float> whole = Scores(*EngineWith(512, 2), text);
  ASSERT_EQ(whole.size(), kLength - 1);
  EXPECT_EQ(Scores(*EngineWith(512, 1), text), whole) << "one thread";
  EXPECT_EQ(Scores(*EngineWith(37, 2), text), whole) << "chunks of 37";
  EXPECT_EQ(Scores(*EngineWith(2, 3), text), whole) << "two tokens at a time, three threads";
}

TEST_P(SamenessTest, WhatRunsBesideARequestChangesNoBitAndScoreAgreesWithGenerate) {
  const auto engine = EngineWith(64, 2);
  std::vector<GenerateParams> requests;
  for (size_t i = 0; i < 8; ++i) {
    GenerateParams params = AskWords(2 * i, 5 + 11 * i, 6 + 3 * static_cast<int64_t>(i));
    if (i % 2 == 1) {
      params.sampling.temperature = 0.9f;
      params.sampling.top_p = 0.9f;
      params.seed = 40 + i;
    }
    if (i == 4) params.sampling.repetition_penalty = 1.3f;
    requests.push_back(params);
  }
  const auto one_step_ahead = EngineWith(64, 2, /*one_step_ahead=*/true);
  std::vector<std::shared_ptr<EventStream>> streams, ahead;
  for (const GenerateParams& params : requests) {
    streams.push_back(Start(*engine, params));
    ahead.push_back(Start(*one_step_ahead, params));
  }
  for (size_t i = 0; i < requests.size(); ++i) {
    const Outcome together = Collect(*streams[i]);
    const Outcome alone = AnswerTo(*engine, requests[i]);
    ASSERT_EQ(alone.finished.reason, FinishReason::kLength) << alone.finished.status;
    EXPECT_EQ(together.ids, alone.ids) << "request " << i;
    EXPECT_EQ(together.logprobs, alone.logprobs) << "request " << i;
    EXPECT_EQ(together.text, alone.text);
    const Outcome stepped_ahead = Collect(*ahead[i]);
    EXPECT_EQ(stepped_ahead.ids, alone.ids) << "request " << i;
    EXPECT_EQ(stepped_ahead.logprobs, alone.logprobs) << "request " << i;

    std::vector<TokenId> ids = std::get<TokenPrompt>(requests[i].prompt).ids;
    const size_t prompt_tokens = ids.size();
    ids.insert(ids.end(), alone.ids.begin(), alone.ids.end());
    ScoreParams score;
    score.prompt = TokenPrompt{ids};
    score.from_token = static_cast<int64_t>(prompt_tokens);
    EXPECT_EQ(AnswerTo(*engine, score).logprobs, alone.logprobs) << "Score of the answer of request " << i;
  }
  ExpectAllFree(*engine);
}

// Attention sums up its keys in ranges of 512: a text of three ranges, whose answer begins in the second and ends in
// the third.
TEST_P(SamenessTest, RangesOfKeysAreMergedAlikeHoweverTheTextIsCut) {
  constexpr size_t kPrompt = 1014;
  constexpr int kAnswer = 30;
  const auto chunks = EngineWith(200, 2);
  GenerateParams params = AskWords(0, kPrompt, kAnswer);
  std::vector<TokenId> ids = std::get<TokenPrompt>(params.prompt).ids;
  const GenerateParams other = AskWords(40, 70, 30);

  const auto beside = Start(*chunks, other), stream = Start(*chunks, params);
  const Outcome answer = Collect(*stream);
  ASSERT_EQ(answer.ids.size(), static_cast<size_t>(kAnswer)) << answer.finished.status;
  EXPECT_EQ(Collect(*beside).finished.reason, FinishReason::kLength);

  // What every token of the prompt wrote into the cache goes into these, whose prompt was read in one step.
  ids.insert(ids.end(), answer.ids.begin(), answer.ids.end());
  ScoreParams score;
  score.prompt = TokenPrompt{ids};
  score.from_token = kPrompt;
  EXPECT_EQ(AnswerTo(*EngineWith(1100, 2), score).logprobs, answer.logprobs);
}

// A text that was read before is not computed again, whoever made its blocks: a prompt or an answer.
TEST_P(SamenessTest, WhatComesFromTheCacheChangesNoBit) {
  for (const PositionMode& position :
       {PositionMode{.kind = position::None()}, PositionMode{.kind = position::Rerope{32}}}) {
    EngineOptions options = Options();
    options.prefix_cache = false;
    const auto plain = MakeEngine(options);
    options.prefix_cache = true;
    options.max_batch_tokens = 100;
    const auto cached = MakeEngine(options);

    GenerateParams params = AskWords(0, kLength, 40);
    params.position = position;
    const Outcome expected = AnswerTo(*plain, params);
    const Outcome first = AnswerTo(*cached, params);
    EXPECT_EQ(first.finished.usage.cached_tokens, 0);
    const Outcome second = AnswerTo(*cached, params);
    EXPECT_EQ(second.started.cached_tokens, second.finished.usage.cached_tokens);
    EXPECT_GE(second.finished.usage.cached_tokens, second.finished.usage.prompt_tokens - kBlock);
    EXPECT_LT(second.finished.usage.cached_tokens, second.finished.usage.prompt_tokens);
    for (const Outcome* outcome : {&first, &second}) {
      EXPECT_EQ(outcome->ids, expected.ids);
      EXPECT_EQ(outcome->logprobs, expected.logprobs);
    }

    // The next turn of a chat finds the answer's blocks too.
    std::vector<TokenId> ids = Words(0, kLength);
    ids.insert(ids.end(), expected.ids.begin(), expected.ids.end());
    params.prompt = TokenPrompt{ids};
    const Outcome turn = AnswerTo(*cached, params);
    EXPECT_GE(turn.finished.usage.cached_tokens, static_cast<int64_t>(ids.size()) - kBlock);
    EXPECT_EQ(turn.logprobs, AnswerTo(*plain, params).logprobs);
    ExpectAllFree(*cached);
  }
}

// Rows that are thrown out and read again, several times, in a cache that is much too small.
TEST_P(SamenessTest, PreemptionChangesNoBit) {
  EngineOptions options = Options();
  const auto roomy = MakeEngine(options);
  options.kv_cache_bytes = (int64_t{512} << 20) / roomy->model().cache_tokens * 272;
  for (const bool with_cache : {true, false}) {
    options.prefix_cache = with_cache;
    const auto crowded = MakeEngine(options);
    ASSERT_LE(crowded->model().cache_tokens, 272);
    std::vector<GenerateParams> requests;
    std::vector<std::shared_ptr<EventStream>> streams;
    for (size_t i = 0; i < 4; ++i) {
      GenerateParams params = AskWords(7 * i, 28, 60);
      if (i % 2 == 1) {
        params.position.kind = position::Rerope{48};
        params.sampling.temperature = 0.8f;
        params.seed = 5;
      }
      requests.push_back(params);
      streams.push_back(Start(*crowded, params));
    }
    for (size_t i = 0; i < requests.size(); ++i) {
      const Outcome outcome = Collect(*streams[i]), alone = AnswerTo(*roomy, requests[i]);
      ASSERT_EQ(outcome.finished.reason, FinishReason::kLength) << outcome.finished.status;
      EXPECT_EQ(outcome.ids, alone.ids) << "request " << i;
      EXPECT_EQ(outcome.logprobs, alone.logprobs) << "request " << i;
    }
    EXPECT_GT(crowded->telemetry().preemptions.value(), 0);
    ExpectAllFree(*crowded);
  }
}

// A text that is thrown out half scored, because its reader takes nothing and another request grows, is read again;
// what was told already is not told twice.
TEST_P(SamenessTest, AScoreThatIsPreemptedChangesNoBit) {
  EngineOptions options = Options();
  const auto roomy = MakeEngine(options);
  options.kv_cache_bytes = (int64_t{512} << 20) / roomy->model().cache_tokens * 192;
  options.max_batch_tokens = 32;
  options.events_per_stream = 4;  // no more than one step's
  const auto crowded = MakeEngine(options);
  ScoreParams score;
  score.prompt = TokenPrompt{Words(0, kLength)};
  const auto stream = Start(*crowded, score);
  ASSERT_TRUE(std::holds_alternative<Started>(*stream->Next()));  // and one piece of the scores takes its place
  StatsAtRest(*crowded);
  ASSERT_FALSE(stream->HasRoom());

  Request request;
  request.params = AskWords(300, 2, 140);
  request.priority = 1;
  EXPECT_EQ(Collect(*crowded->Submit(std::move(request), nullptr)).finished.reason, FinishReason::kLength);
  EXPECT_GT(crowded->telemetry().preemptions.value(), 0);
  EXPECT_EQ(Collect(*stream).logprobs, Scores(*roomy, score.prompt));
}

// As 9,000 and 11,000 tokens of a model that was trained for 8,192: both are fitted to one rung of the ladder.
TEST(PrefixSharing, PromptsOfDifferentLengthsOnOneRungShareTheirBeginning) {
  EngineOptions options;
  options.trained_length = 256;
  const auto engine = MakeEngine(options);
  std::vector<TokenId> text;
  for (TokenId i = 0; i < 400; ++i) text.push_back(1000 + i % 300);
  const auto ask = [&](size_t tokens) {
    GenerateParams params = Ask("", 4);
    params.prompt = TokenPrompt{{text.begin(), text.begin() + static_cast<ptrdiff_t>(tokens)}};
    params.position.kind = position::Ntk();
    return AnswerTo(*engine, params);
  };
  EXPECT_EQ(ask(281).finished.usage.cached_tokens, 0);
  const Outcome longer = ask(344);
  EXPECT_EQ(longer.finished.usage.cached_tokens, 280 / kBlock * kBlock);
  EXPECT_TRUE(longer.started.refit);
  EXPECT_EQ(ask(398).finished.usage.cached_tokens, 0) << "the next rung";
}

std::vector<Case> Cases() {
  std::vector<Case> cases = {{.architecture = ""},
                             {.architecture = "llama", .compute = ComputeType::kF32, .cache = CacheType::kF32},
                             {.architecture = "llama", .compute = ComputeType::kBf16, .cache = CacheType::kF16}};
  for (const Family* family : Families()) cases.push_back({.architecture = std::string(family->architecture)});
  for (const TensorType type :
       {TensorType::kF32, TensorType::kF16, TensorType::kBF16, TensorType::kQ4_0, TensorType::kQ5_0, TensorType::kQ5_1,
        TensorType::kIQ4_NL, TensorType::kQ8_0, TensorType::kQ4_K, TensorType::kQ5_K, TensorType::kQ6_K}) {
    cases.push_back({.architecture = "llama", .type = type});
  }
  return cases;
}

std::string CaseName(const ::testing::TestParamInfo<Case>& info) {
  const Case& c = info.param;
  return c.architecture.empty() ? "default"
                                : absl::StrCat(c.architecture, "_", ToAbsl(Info(c.type).name), "_",
                                               ToAbsl(Name(c.compute)), "_", ToAbsl(Name(c.cache)));
}

INSTANTIATE_TEST_SUITE_P(, SamenessTest, ::testing::ValuesIn(Cases()), CaseName);

}  // namespace
}  // namespace longhaul
