// A model one of whose tokens makes every logit after it NaN: no request that reads it gets a result, all others do.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "tests/engine/engine_fixture.h"
#include "tests/support/gguf_writer.h"

namespace longhaul {
namespace {

using ::testing::HasSubstr;

constexpr TokenId kBad = 60;
constexpr TokenId kGood = 5;

class NotNumbersTest : public ::testing::Test {
 protected:
  void SetUp() override {
    path_ = std::filesystem::temp_directory_path() / ("longhaul-nan-" + std::to_string(getpid()) + ".gguf");
    const TinyModelOptions shape{.tied = false};
    GgufWriter writer = TinyModel(shape);
    std::vector<float> embedding(static_cast<size_t>(shape.vocabulary * shape.width), 0.5f);
    for (int64_t i = 0; i < shape.width; ++i) {
      embedding[static_cast<size_t>(kBad * shape.width + i)] = std::numeric_limits<float>::quiet_NaN();
    }
    std::string data(reinterpret_cast<const char*>(embedding.data()), embedding.size() * sizeof(float));
    writer.SetTensor("token_embd.weight", {static_cast<uint64_t>(shape.width), static_cast<uint64_t>(shape.vocabulary)},
                     static_cast<uint32_t>(TensorType::kF32), std::move(data));
    const std::vector<std::byte> bytes = writer.Build();
    std::ofstream(path_, std::ios::binary).write(reinterpret_cast<const char*>(bytes.data()), std::ssize(bytes));
    EngineOptions options;
    options.model_path = path_;
    options.threads = 1;
    options.kv_cache_bytes = 1 << 20;
    auto engine = Engine::Create(options);
    ASSERT_TRUE(engine.ok()) << engine.status();
    engine_ = *std::move(engine);
  }
  void TearDown() override {
    engine_.reset();
    std::filesystem::remove(path_);
  }

  static GenerateParams Generate(std::vector<TokenId> ids) {
    GenerateParams params;
    params.prompt = TokenPrompt{std::move(ids)};
    params.stopping.max_tokens = 3;
    params.stopping.ignore_eos = true;
    params.output.token_ids = true;
    params.output.logprobs = 2;
    params.sampling.logit_bias = {{kBad, -1000.0f}};
    return params;
  }
  static ScoreParams Score(std::vector<TokenId> ids) {
    ScoreParams params;
    params.prompt = TokenPrompt{std::move(ids)};
    params.top_logprobs = 2;
    return params;
  }
  static Contexts Documents(std::vector<TokenId> second) {
    Contexts contexts;
    contexts.source = std::vector<Document>{{"a", std::vector<TokenId>{1, 2}}, {"b", std::move(second)}};
    return contexts;
  }

  void ExpectNumbers(const std::variant<GenerateParams, ScoreParams>& params, size_t n) {
    const Outcome outcome = AnswerTo(*engine_, params);
    EXPECT_TRUE(outcome.finished.status.ok()) << outcome.finished.status;
    EXPECT_EQ(outcome.logprobs.size(), n);
    for (const float logprob : outcome.logprobs) EXPECT_FALSE(std::isnan(logprob));
  }
  void ExpectRefusal(const std::variant<GenerateParams, ScoreParams>& params, const std::string& what) {
    const Outcome outcome = AnswerTo(*engine_, params);
    EXPECT_EQ(outcome.finished.status.code(), absl::StatusCode::kInternal);
    EXPECT_THAT(std::string(outcome.finished.status.message()), HasSubstr("logits are not numbers"));
    EXPECT_THAT(std::string(outcome.finished.status.message()), HasSubstr(what));
    EXPECT_EQ(outcome.finished.reason, FinishReason::kError);
    for (const float logprob : outcome.logprobs) EXPECT_FALSE(std::isnan(logprob));
    ExpectAllFree(*engine_);
  }

  std::filesystem::path path_;
  std::unique_ptr<Engine> engine_;
};

TEST_F(NotNumbersTest, GenerateAnswersWithNoNan) {
  ExpectNumbers(Generate({kGood, 2}), 3);
  ExpectRefusal(Generate({kGood, kBad, 2}), "no token can be drawn");
  GenerateParams several = Generate({kBad});
  several.samples = 3;
  ExpectRefusal(several, "no token can be drawn");
  ExpectNumbers(Generate({kGood, 3}), 3);
}

TEST_F(NotNumbersTest, ScoreAnswersWithNoNan) {
  ExpectNumbers(Score({kGood, 2, 3, kBad}), 3);
  ExpectRefusal(Score({kGood, 2, kBad, 3}), "token 3 cannot be scored");
  std::vector<TokenId> text(200, kGood);
  text[20] = kBad;
  ExpectRefusal(Score(text), "token 21 cannot be scored");
  ExpectNumbers(Score({kGood, 2, 3, kBad}), 3);
}

TEST_F(NotNumbersTest, ADocumentThatGivesNoNumbersIsNotPassedOver) {
  GenerateParams generate = Generate({kGood, 3});
  generate.output.entropies = true;
  generate.contexts = Documents({4});
  ExpectNumbers(generate, 3);
  generate.contexts = Documents({4, kBad});
  ExpectRefusal(generate, "document 1 cannot be combined");
  ScoreParams score = Score({kGood, 2, 3});
  score.answer = TokenPrompt{{7, 8}};
  score.contexts = Documents({4});
  ExpectNumbers(score, 2);
  score.contexts = Documents({4, kBad});
  ExpectRefusal(score, "document 1 cannot be combined");
  score.contexts = Documents({4});
  score.prompt = TokenPrompt{{kBad}};
  ExpectRefusal(score, "the row without a document cannot be combined");
}

}  // namespace
}  // namespace longhaul
