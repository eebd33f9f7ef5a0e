// The numbers of answers from many documents: what the default model says, and that they are equal to the bit.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "tests/engine/documents_fixture.h"
#include "tests/support/small_model.h"

namespace longhaul {
namespace {

using ::testing::HasSubstr;

const std::vector<std::string> kFacts = {
    "The bridge over the river Arn was opened in 1911. It was paid for by the widow Tamsin Grey.",
    "The lighthouse at Cape Sorrow is 41 metres high and was painted green.",
    "The baker Oluf Brand sells rye bread on Mondays and nothing at all on Sundays.",
    "The village school has three teachers and a dog called Pepper.",
    "The old mill burned down in 1874, and nobody has rebuilt it.",
};

GenerateParams AskFacts(const std::string& question, const std::vector<std::string>& documents, int64_t max_tokens) {
  GenerateParams params = Ask(question, max_tokens);
  params.output.entropies = true;
  std::vector<Document> source;
  for (size_t i = 0; i < documents.size(); ++i) source.push_back({"doc" + std::to_string(i), documents[i]});
  params.contexts.emplace();
  params.contexts->source = source;
  return params;
}

std::vector<TokenId> SomeIds(int64_t n, TokenId from) {
  std::vector<TokenId> ids;
  for (int64_t i = 0; i < n; ++i) ids.push_back(1000 + (from + static_cast<TokenId>(i) * 31) % 5000);
  return ids;
}

class NbceEngineTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { engine_ = MakeEngine(); }
  static void TearDownTestSuite() { engine_.reset(); }

  static std::unique_ptr<Engine> engine_;
};
std::unique_ptr<Engine> NbceEngineTest::engine_;

TEST_F(NbceEngineTest, AnswersFromTheDocumentThatHoldsTheAnswer) {
  const Cited cited = AskDocuments(*engine_, AskFacts("When was the bridge over the Arn opened?", kFacts, 24));
  EXPECT_TRUE(cited.outcome.finished.status.ok()) << cited.outcome.finished.status;
  EXPECT_THAT(cited.outcome.text, HasSubstr("1911"));
  const std::vector<DocumentUse>& uses = cited.outcome.finished.documents;
  ASSERT_EQ(uses.size(), kFacts.size());
  EXPECT_EQ(
      std::max_element(uses.begin(), uses.end(), [](const auto& a, const auto& b) { return a.tokens < b.tokens; }),
      uses.begin());
  const auto tokens = std::accumulate(uses.begin(), uses.end(), int64_t{0},
                                      [](int64_t sum, const DocumentUse& use) { return sum + use.tokens; });
  EXPECT_EQ(tokens, cited.outcome.finished.usage.completion_tokens);
  ASSERT_EQ(cited.entropies.size(), cited.outcome.ids.size());
  double mean = 0;
  for (size_t i = 0; i < cited.entropies.size(); ++i) {
    ASSERT_EQ(cited.entropies[i].size(), kFacts.size() + 1);
    EXPECT_EQ(cited.ids[i], "doc" + std::to_string(cited.documents[i]));
    mean += static_cast<double>(cited.entropies[i][1]) / static_cast<double>(cited.entropies.size());
  }
  EXPECT_NEAR(uses[0].mean_entropy, mean, 1e-6);
}

TEST_F(NbceEngineTest, CopiesOfOneDocumentWithoutBetaAreThePlainRequest) {
  const std::vector<TokenId> document = SomeIds(90, 7), question = SomeIds(9, 400);
  GenerateParams params = AskIds({document, document, document}, question, 24);
  params.contexts->nbce.beta = 0;
  params.contexts->nbce.top_p = 1;
  GenerateParams plain = Ask("", 24);
  std::vector<TokenId> row = document;
  row.insert(row.end(), question.begin(), question.end());
  plain.prompt = TokenPrompt{row};
  plain.stopping.ignore_eos = true;
  const Outcome alone = AnswerTo(*engine_, plain);
  const Cited cited = AskDocuments(*engine_, params);
  EXPECT_EQ(cited.outcome.ids, alone.ids);
  for (size_t i = 0; i < alone.logprobs.size(); ++i) {
    EXPECT_NEAR(cited.outcome.logprobs[i], alone.logprobs[i], 1e-4f);
  }
  for (size_t document_of : cited.documents) EXPECT_EQ(document_of, 0u) << "the lowest of equals";
}

TEST_F(NbceEngineTest, TheOrderOfDocumentsChangesTheirIndicesAlone) {
  std::vector<std::string> reversed(kFacts.rbegin(), kFacts.rend());
  for (const NbcePooling pooling : {NbcePooling::kMinEntropy, NbcePooling::kMax}) {
    GenerateParams params = AskFacts("Who paid for the bridge, and what is the dog called?", kFacts, 32);
    params.contexts->nbce.pooling = pooling;
    GenerateParams other = AskFacts("Who paid for the bridge, and what is the dog called?", reversed, 32);
    other.contexts->nbce.pooling = pooling;
    const Cited a = AskDocuments(*engine_, params), b = AskDocuments(*engine_, other);
    EXPECT_EQ(a.outcome.ids, b.outcome.ids);
    EXPECT_EQ(a.outcome.logprobs, b.outcome.logprobs);
    ASSERT_EQ(a.documents.size(), b.documents.size());
    for (size_t i = 0; i < a.documents.size(); ++i) EXPECT_EQ(a.documents[i], kFacts.size() - 1 - b.documents[i]);
  }
}

TEST_F(NbceEngineTest, WhatRunsBesideItAndWhatIsCachedChangeNoBit) {
  std::vector<std::vector<TokenId>> documents;
  for (TokenId d = 0; d < 16; ++d) documents.push_back(SomeIds(40 + 13 * d, 100 * d));
  GenerateParams params = AskIds(documents, SomeIds(11, 9), 20);
  params.sampling.temperature = 0.8f;
  params.seed = 3;
  EngineOptions options;
  options.model_path = SmallModelPath();
  const auto quiet = MakeEngine(options), busy = MakeEngine(options);
  const Cited first = AskDocuments(*quiet, params);
  ASSERT_EQ(first.outcome.ids.size(), 20u) << first.outcome.finished.status;
  EXPECT_EQ(first.outcome.finished.usage.cached_tokens, 0);
  const Cited cached = AskDocuments(*quiet, params);
  EXPECT_GT(cached.outcome.finished.usage.cached_tokens, 0);

  std::vector<std::shared_ptr<EventStream>> beside;
  for (TokenId i = 0; i < 4; ++i) {
    GenerateParams other = Ask("", 60);
    other.prompt = TokenPrompt{SomeIds(20, 77 * i)};
    beside.push_back(Start(*busy, other));
  }
  beside.push_back(Start(*busy, AskIds({SomeIds(30, 5), SomeIds(60, 6), SomeIds(20, 7)}, SomeIds(5, 8), 40)));
  const Cited crowded = AskDocuments(*busy, params);
  for (const auto& stream : beside) Collect(*stream);
  options.max_batch_tokens = 64;
  options.threads = 1;
  const Cited chunked = AskDocuments(*MakeEngine(options), params);
  options.one_step_ahead = true;
  const Cited ahead = AskDocuments(*MakeEngine(options), params);
  for (const Cited* other : {&cached, &crowded, &chunked, &ahead}) {
    EXPECT_EQ(other->outcome.ids, first.outcome.ids);
    EXPECT_EQ(other->outcome.logprobs, first.outcome.logprobs);
    EXPECT_EQ(other->documents, first.documents);
    EXPECT_EQ(other->entropies, first.entropies);
  }
}

TEST_F(NbceEngineTest, ScoringAnAnswerGivesWhatGeneratingItGave) {
  GenerateParams params = AskFacts("How high is the lighthouse?", kFacts, 16);
  params.stopping.ignore_eos = true;
  params.contexts->nbce.eta = 0.3f;
  const Cited made = AskDocuments(*engine_, params);
  ScoreParams score;
  score.prompt = params.prompt;
  score.contexts = params.contexts;
  score.answer = TokenPrompt{made.outcome.ids};
  const Outcome scored = AnswerTo(*engine_, score);
  EXPECT_EQ(scored.logprobs, made.outcome.logprobs) << scored.finished.status;
  EXPECT_EQ(scored.finished.truncated_tokens, 0);
  score.last_tokens = 4;
  const std::vector<float> last(made.outcome.logprobs.end() - 4, made.outcome.logprobs.end());
  EXPECT_EQ(AnswerTo(*engine_, score).logprobs, last);
  // What no document would say is cut.
  score.last_tokens = 0;
  score.answer = TokenPrompt{SomeIds(12, 900)};
  const Outcome nonsense = AnswerTo(*engine_, score);
  EXPECT_EQ(nonsense.finished.truncated_tokens,
            std::count_if(nonsense.logprobs.begin(), nonsense.logprobs.end(), [](float x) { return std::isinf(x); }));
  EXPECT_GT(nonsense.finished.truncated_tokens, 0);
}

TEST_F(NbceEngineTest, AnAnswerThatMayNotEndGoesOnWhereItsEndAloneIsLeft) {
  GenerateParams params = AskFacts("What is the dog called? Answer in one word.", kFacts, 120);
  params.contexts->nbce.top_p = 0.3f;
  ASSERT_EQ(AskDocuments(*engine_, params).outcome.finished.reason, FinishReason::kEos);
  params.stopping.ignore_eos = true;
  const int64_t before = engine_->telemetry().nbce_fallbacks.value();
  const Cited cited = AskDocuments(*engine_, params);
  EXPECT_EQ(cited.outcome.finished.reason, FinishReason::kLength) << cited.outcome.finished.status;
  EXPECT_GT(engine_->telemetry().nbce_fallbacks.value(), before);
}

TEST_F(NbceEngineTest, AnswersFromWindowsOfALongText) {
  std::string text;
  for (int i = 0; i < 40; ++i) text += "Chapter " + std::to_string(i) + ". Nothing of note happened in the village. ";
  text.insert(text.size() / 2, "The bridge over the river Arn was opened in 1911. ");
  GenerateParams params = Ask("When was the bridge opened?", 16);
  params.contexts.emplace();
  params.contexts->source = LongDocument{text, 128, 16};
  const Cited cited = AskDocuments(*engine_, params);
  ASSERT_TRUE(cited.outcome.finished.status.ok()) << cited.outcome.finished.status;
  EXPECT_THAT(cited.outcome.text, HasSubstr("1911"));
  const std::vector<TextRange>& windows = cited.outcome.started.windows;
  ASSERT_GT(windows.size(), 3u);
  EXPECT_EQ(cited.outcome.finished.documents.size(), windows.size());
  EXPECT_EQ(windows.front().first_byte, 0);
  EXPECT_EQ(windows.back().first_byte + windows.back().bytes, std::ssize(text));
  for (size_t i = 1; i < windows.size(); ++i) {
    EXPECT_GT(windows[i].first_byte, windows[i - 1].first_byte);
    EXPECT_LT(windows[i].first_byte, windows[i - 1].first_byte + windows[i - 1].bytes) << "they overlap";
  }
  EXPECT_TRUE(std::any_of(cited.documents.begin(), cited.documents.end(), [&](size_t document) {
    const TextRange& window = windows.at(document);
    const auto said = text.substr(static_cast<size_t>(window.first_byte), static_cast<size_t>(window.bytes));
    return said.find("1911") != std::string::npos;
  }));
}

}  // namespace
}  // namespace longhaul
