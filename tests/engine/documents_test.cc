// Answers from many documents: what is cited, shared, taken back and told of them.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "tests/engine/documents_fixture.h"
#include "tests/engine/fake_engine_fixture.h"

namespace longhaul {
namespace {

std::vector<TokenId> SomeIds(int64_t n, TokenId from) {
  std::vector<TokenId> ids;
  for (int64_t i = 0; i < n; ++i) ids.push_back(1 + (from + static_cast<TokenId>(i) * 31) % 249);
  return ids;
}

class DocumentsTest : public FakeEngineTest {
 protected:
  DocumentsTest() { runner_options_.geometry.n_blocks = 2000; }

  static GenerateParams AskTexts(const std::vector<std::string>& documents, int64_t max_tokens) {
    GenerateParams params = Ask("Why?", max_tokens);
    params.output.entropies = true;
    std::vector<Document> source;
    for (size_t i = 0; i < documents.size(); ++i) source.push_back({"doc" + std::to_string(i), documents[i]});
    params.contexts.emplace();
    params.contexts->source = source;
    params.contexts->document_template = "{document}{question}";
    return params;
  }
  const std::vector<std::string> texts_ = {"one", "the second", "three", "a fourth text", "fifth"};
};
INSTANTIATE_TEST_SUITE_P(, DocumentsTest, ::testing::Bool(), StepsName);

// The others would say anything.
TEST_P(DocumentsTest, TheOneThatKnowsTheAnswerIsCited) {
  runner_options_.logits = [](std::span<const TokenId> text) {
    std::vector<float> logits = AlphabetLogits(text);
    if (std::ranges::find(text, '!') != text.end()) return logits;
    for (float& logit : logits) logit *= 0.1f;
    return logits;
  };
  const Cited cited = AskDocuments(engine(), AskTexts({"one", "the second!", "three"}, 24));
  EXPECT_EQ(cited.outcome.text, "abcdefghijklmnopqrstuvwx");
  const std::vector<DocumentUse>& uses = cited.outcome.finished.documents;
  ASSERT_EQ(uses.size(), 3u);
  EXPECT_EQ(uses[1].tokens, 24);
  EXPECT_EQ(uses[0].tokens + uses[2].tokens, 0);
  ASSERT_EQ(cited.entropies.size(), 24u);
  double mean = 0;
  for (size_t i = 0; i < cited.entropies.size(); ++i) {
    ASSERT_EQ(cited.entropies[i].size(), 4u) << "with the row without a document";
    EXPECT_EQ(cited.ids[i], "doc1");
    EXPECT_EQ(cited.documents[i], 1u);
    mean += static_cast<double>(cited.entropies[i][2]) / 24;
  }
  EXPECT_NEAR(uses[1].mean_entropy, mean, 1e-6);
}

TEST_P(DocumentsTest, TheirOrderChangesTheirIndicesAlone) {
  const std::vector<std::string> reversed(texts_.rbegin(), texts_.rend());
  for (const NbcePooling pooling : {NbcePooling::kMinEntropy, NbcePooling::kMax}) {
    GenerateParams params = AskTexts(texts_, 32), other = AskTexts(reversed, 32);
    params.contexts->nbce.pooling = other.contexts->nbce.pooling = pooling;
    const Cited a = AskDocuments(engine(), params), b = AskDocuments(engine(), other);
    EXPECT_EQ(a.outcome.ids.size(), 32u);
    EXPECT_EQ(a.outcome.ids, b.outcome.ids);
    EXPECT_EQ(a.outcome.logprobs, b.outcome.logprobs);
    ASSERT_EQ(a.documents.size(), b.documents.size());
    for (size_t i = 0; i < a.documents.size(); ++i) EXPECT_EQ(a.documents[i], texts_.size() - 1 - b.documents[i]);
  }
}

TEST_P(DocumentsTest, AreReadOnceWhateverIsAskedAndWhoeverStandsBesideThem) {
  std::vector<std::vector<TokenId>> documents;
  for (TokenId d = 0; d < 8; ++d) documents.push_back(SomeIds(100 + 7 * d, 50 * d));
  AskDocuments(engine(), AskIds(documents, SomeIds(10, 1), 2));
  // Another question, another order, one document fewer and one more.
  std::reverse(documents.begin(), documents.end());
  documents.pop_back();
  documents.insert(documents.begin() + 3, SomeIds(70, 33));
  const int64_t question = 13, block = runner_options_.geometry.block_tokens;
  const Usage usage = AskDocuments(engine(), AskIds(documents, SomeIds(question, 77), 2)).outcome.finished.usage;
  const int64_t rows = std::ssize(documents);  // the new one is read, as is the row without a document
  EXPECT_LE(usage.prompt_tokens - usage.cached_tokens, rows * (question + block - 1) + 70 + question);
}

TEST_P(DocumentsTest, ALongOneLeavesTheShortOnesAsTheyAre) {
  options_.trained_length = 128;
  std::vector<std::vector<TokenId>> documents;
  for (TokenId d = 0; d < 31; ++d) documents.push_back(SomeIds(60, 8 * d));
  const Usage first = AskDocuments(engine(), AskIds(documents, SomeIds(10, 1), 2)).outcome.finished.usage;
  EXPECT_EQ(first.cached_tokens, 0);
  documents.push_back(SomeIds(192, 3));
  const Cited longer = AskDocuments(engine(), AskIds(documents, SomeIds(10, 1), 2));
  const int64_t block = runner_options_.geometry.block_tokens;
  // A hit covers no row's last token.
  EXPECT_EQ(longer.outcome.finished.usage.cached_tokens, 31 * (69 / block * block) + 9 / block * block);
  EXPECT_TRUE(longer.outcome.started.refit) << "the mode of the longest row is told";
  EXPECT_FALSE(std::holds_alternative<position::None>(longer.outcome.started.position.kind));
}

TEST_P(DocumentsTest, ScoringAnAnswerGivesWhatGeneratingItGave) {
  GenerateParams params = AskTexts(texts_, 16);
  params.contexts->nbce.eta = 0.3f;
  const Cited made = AskDocuments(engine(), params);
  ASSERT_EQ(made.outcome.ids.size(), 16u);
  ScoreParams score;
  score.prompt = params.prompt;
  score.contexts = params.contexts;
  score.answer = TokenPrompt{made.outcome.ids};
  const Outcome scored = Answer(score);
  EXPECT_EQ(scored.logprobs, made.outcome.logprobs) << scored.finished.status;
  EXPECT_EQ(scored.finished.truncated_tokens, 0);
  score.last_tokens = 4;
  EXPECT_EQ(Answer(score).logprobs, std::vector<float>(made.outcome.logprobs.end() - 4, made.outcome.logprobs.end()));
  // What no document would say is cut.
  score.last_tokens = 0;
  score.answer = TokenPrompt{SomeIds(12, 9)};
  const Outcome nonsense = Answer(score);
  EXPECT_EQ(nonsense.finished.truncated_tokens,
            std::count_if(nonsense.logprobs.begin(), nonsense.logprobs.end(), [](float x) { return std::isinf(x); }));
  EXPECT_GT(nonsense.finished.truncated_tokens, 0);
}

TEST_P(DocumentsTest, WhereTheMeanLeavesNothingTheSurestRowSpeaks) {
  runner_options_.logits = [](std::span<const TokenId> text) {  // each says another thing, and is sure of it
    std::vector<float> logits = AlphabetLogits(text);
    logits[static_cast<size_t>(text.front())] = 20;
    return logits;
  };
  GenerateParams params = AskIds({{1, 3}, {2, 3}, {3, 3}, {4, 3}}, SomeIds(3, 8), 40);
  params.contexts->nbce.pooling = NbcePooling::kMean;
  params.contexts->nbce.top_p = 0.05f;
  const auto stream = Submit(params);
  int64_t fallen_back = 0;
  while (std::optional<Event> event = stream->Next()) {
    const auto* chunk = std::get_if<Chunk>(&*event);
    if (chunk == nullptr || !chunk->citation.has_value()) continue;
    if (chunk->citation->fell_back) fallen_back += std::ssize(chunk->tokens);
  }
  EXPECT_EQ(fallen_back, 40);
  EXPECT_EQ(engine().telemetry().nbce_fallbacks.value(), 40);
  EXPECT_EQ(engine().telemetry().contexts.Read().sum, 4);
}

TEST_P(DocumentsTest, AnAnswerThatMayNotEndGoesOnWhereItsEndAloneIsLeft) {
  GenerateParams params = AskTexts(texts_, 120);
  params.prompt = TextPrompt{"Why."};  // the end comes next
  params.contexts->nbce.top_p = 0.3f;
  ASSERT_EQ(AskDocuments(engine(), params).outcome.finished.reason, FinishReason::kEos);
  params.stopping.ignore_eos = true;
  EXPECT_EQ(engine().telemetry().nbce_fallbacks.value(), 0);
  const Cited cited = AskDocuments(engine(), params);
  EXPECT_EQ(cited.outcome.finished.reason, FinishReason::kLength) << cited.outcome.finished.status;
  EXPECT_EQ(cited.outcome.ids.size(), 120u);
  EXPECT_GT(engine().telemetry().nbce_fallbacks.value(), 0);
}

TEST_P(DocumentsTest, SamplesAreEachTheOneOfItsNumber) {
  GenerateParams params = AskTexts(texts_, 12);
  params.sampling.temperature = 10;
  params.contexts->nbce.top_p = 1;
  params.stopping.ignore_eos = true;
  params.seed = 9;
  params.samples = 3;
  std::vector<std::vector<TokenId>> ids(3);
  const auto stream = Submit(params);
  while (std::optional<Event> event = stream->Next()) {
    const auto* chunk = std::get_if<Chunk>(&*event);
    if (chunk == nullptr) continue;
    for (const ChunkToken& token : chunk->tokens) ids[chunk->sample].push_back(token.id);
  }
  params.samples = 1;
  for (size_t sample = 0; sample < 3; ++sample) {
    params.first_sample = sample;
    EXPECT_EQ(AskDocuments(engine(), params).outcome.ids, ids[sample]);
    EXPECT_EQ(ids[sample].size(), 12u);
  }
  EXPECT_NE(ids[0], ids[1]);
}

TEST_P(DocumentsTest, CancelledExpiredAndPreemptedGroupsGiveEveryBlockBack) {
  runner_options_.geometry.n_blocks = 100;
  std::vector<std::vector<TokenId>> documents;
  for (TokenId d = 0; d < 4; ++d) documents.push_back(SomeIds(12, 60 * d));
  const GenerateParams params = AskIds(documents, SomeIds(5, 9), 24);
  const Cited alone = AskDocuments(engine(), params);
  ASSERT_EQ(alone.outcome.ids.size(), 24u) << alone.outcome.finished.status;
  std::vector<std::shared_ptr<EventStream>> streams;
  for (int i = 0; i < 12; ++i) {
    GenerateParams other = params;
    std::vector<Document>& own = std::get<std::vector<Document>>(other.contexts->source);
    for (Document& document : own) std::get<std::vector<TokenId>>(document.content).front() = 100 + i;
    if (i == 0) runner().Hold();
    if (i % 4 == 0) {
      streams.push_back(Submit(params));
    } else if (i % 4 == 3) {
      streams.push_back(Submit(other, milliseconds(6 + 2 * i)));
    } else {
      streams.push_back(Submit(other));
    }
    if (i == 0) runner().AwaitHeld();
  }
  AwaitPrepared(engine());  // what is cancelled before that is refused
  // Some steps later none is done.
  runner().Resume(8);
  runner().AwaitHeld();
  for (size_t i = 1; i < streams.size(); i += 4) engine().Cancel(*streams[i]);
  runner().Resume();
  int expired = 0;
  for (size_t i = 0; i < streams.size(); ++i) {
    const Outcome outcome = Collect(*streams[i]);
    if (i % 4 == 1) {
      EXPECT_EQ(outcome.finished.reason, FinishReason::kCancelled);
    }
    if (i % 4 == 3) expired += outcome.finished.reason == FinishReason::kDeadline ? 1 : 0;
    if (i % 4 == 0) {
      EXPECT_EQ(outcome.ids, alone.outcome.ids) << outcome.finished.status;
      EXPECT_EQ(outcome.logprobs, alone.outcome.logprobs);
    }
  }
  EXPECT_GT(engine().telemetry().preemptions.value(), 0);
  EXPECT_GT(expired, 0);
  ExpectAllFree(engine());
}

TEST_P(DocumentsTest, TextThatWasHeldBackAndEntropiesOfTheLastTokensAreTold) {
  GenerateParams params = AskTexts(texts_, 24);
  params.output.token_ids = false;
  params.output.logprobs.reset();
  const std::string whole = AskDocuments(engine(), params).outcome.text;
  ASSERT_EQ(whole, "abcdefghijklmnopqrstuvwx");
  for (const std::string& stop : {whole.substr(18), whole.substr(6, 5) + "never said", whole.substr(0, 4)}) {
    params.stopping.stop = {stop};
    int64_t entropies = 0, completion_tokens = 0;
    std::string text;
    const auto stream = Submit(params);
    while (std::optional<Event> event = stream->Next()) {
      if (const auto* finished = std::get_if<Finished>(&*event)) completion_tokens = finished->usage.completion_tokens;
      const auto* chunk = std::get_if<Chunk>(&*event);
      if (chunk == nullptr) continue;
      EXPECT_TRUE(chunk->text.empty() || chunk->citation.has_value()) << chunk->text;
      text += chunk->text;
      entropies += std::ssize(chunk->entropies);
    }
    EXPECT_EQ(entropies, completion_tokens) << stop;
    EXPECT_EQ(text, whole.substr(0, whole.find(stop)));
  }
}

TEST_P(DocumentsTest, MayBeWindowsOfALongText) {
  runner_options_.limits = {.max_tokens = 256, .max_logit_rows = 64};
  std::string text;
  for (int i = 0; i < 40; ++i) text += "Chapter " + std::to_string(i) + ". Nothing of note happened. ";
  GenerateParams params = Ask("?", 16);
  params.contexts.emplace();
  params.contexts->source = LongDocument{text, 128, 16};
  const Cited cited = AskDocuments(engine(), params);
  ASSERT_TRUE(cited.outcome.finished.status.ok()) << cited.outcome.finished.status;
  const std::vector<TextRange>& windows = cited.outcome.started.windows;
  ASSERT_GT(windows.size(), 3u);
  EXPECT_EQ(cited.outcome.finished.documents.size(), windows.size());
  EXPECT_EQ(windows.front().first_byte, 0);
  EXPECT_EQ(windows.back().first_byte + windows.back().bytes, std::ssize(text));
  for (size_t i = 1; i < windows.size(); ++i) {
    EXPECT_GT(windows[i].first_byte, windows[i - 1].first_byte);
    EXPECT_LT(windows[i].first_byte, windows[i - 1].first_byte + windows[i - 1].bytes) << "they overlap";
  }
}

}  // namespace
}  // namespace longhaul
