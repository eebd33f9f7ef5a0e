// Answers from many documents, through the engine's front door on the default model.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "engine/backend/batch.h"
#include "tests/engine/engine_fixture.h"
#include "tests/support/small_model.h"

namespace longhaul {
namespace {

using ::testing::HasSubstr;

// What an answer from documents came to, token by token.
struct Cited {
  Outcome outcome;
  std::vector<size_t> documents;  // of each chunk
  std::vector<std::string> ids;
  std::vector<std::vector<float>> entropies;  // of each token
};

Cited AskDocuments(Engine& engine, const GenerateParams& params) {
  Cited cited;
  const auto stream = Start(engine, params);
  while (std::optional<Event> event = stream->Next()) {
    if (auto* started = std::get_if<Started>(&*event)) cited.outcome.started = *started;
    if (auto* finished = std::get_if<Finished>(&*event)) cited.outcome.finished = *finished;
    auto* chunk = std::get_if<Chunk>(&*event);
    if (chunk == nullptr) continue;
    cited.outcome.text += chunk->text;
    EXPECT_TRUE(chunk->citation.has_value() || (chunk->text.empty() && chunk->tokens.empty()));
    for (const ChunkToken& token : chunk->tokens) {
      cited.outcome.ids.push_back(token.id);
      cited.outcome.logprobs.push_back(token.logprob.value_or(1));
      cited.documents.push_back(chunk->citation.has_value() ? chunk->citation->document : 999);
      cited.ids.push_back(chunk->citation.has_value() ? chunk->citation->id : "?");
    }
    cited.entropies.insert(cited.entropies.end(), chunk->entropies.begin(), chunk->entropies.end());
  }
  return cited;
}

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

// Rows that are exactly a document's ids and the question's.
GenerateParams AskIds(const std::vector<std::vector<TokenId>>& documents, const std::vector<TokenId>& question,
                      int64_t max_tokens) {
  GenerateParams params = Ask("", max_tokens);
  params.prompt = TokenPrompt{question};
  params.stopping.ignore_eos = true;
  params.output.entropies = true;
  params.contexts.emplace();
  params.contexts->document_template = "{document}{question}";
  std::vector<Document> source;
  for (size_t i = 0; i < documents.size(); ++i) source.push_back({std::to_string(i), documents[i]});
  params.contexts->source = source;
  return params;
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

TEST_F(NbceEngineTest, ADocumentIsReadOnceWhateverIsAskedAndWhoeverStandsBesideIt) {
  const auto engine = MakeEngine();
  std::vector<std::vector<TokenId>> documents;
  for (TokenId d = 0; d < 8; ++d) documents.push_back(SomeIds(100 + 7 * d, 50 * d));
  AskDocuments(*engine, AskIds(documents, SomeIds(10, 1), 2));
  // Another question, another order, one document fewer and one more.
  std::reverse(documents.begin(), documents.end());
  documents.pop_back();
  documents.insert(documents.begin() + 3, SomeIds(70, 4000));
  const int64_t question = 13;
  const Usage usage = AskDocuments(*engine, AskIds(documents, SomeIds(question, 77), 2)).outcome.finished.usage;
  const int64_t rows = std::ssize(documents);  // the new one is read, as is the row without a document
  EXPECT_LE(usage.prompt_tokens - usage.cached_tokens, rows * (question + kBlock - 1) + 70 + question);
}

TEST_F(NbceEngineTest, ALongDocumentLeavesTheShortOnesAsTheyAre) {
  EngineOptions options;
  options.trained_length = 128;
  const auto engine = MakeEngine(options);
  std::vector<std::vector<TokenId>> documents;
  for (TokenId d = 0; d < 31; ++d) documents.push_back(SomeIds(60, 50 * d));
  const Usage first = AskDocuments(*engine, AskIds(documents, SomeIds(10, 1), 2)).outcome.finished.usage;
  EXPECT_EQ(first.cached_tokens, 0);
  documents.push_back(SomeIds(192, 3000));
  const Cited longer = AskDocuments(*engine, AskIds(documents, SomeIds(10, 1), 2));
  EXPECT_EQ(longer.outcome.finished.usage.cached_tokens, 31 * (70 / kBlock * kBlock));
  EXPECT_TRUE(longer.outcome.started.refit) << "the mode of the longest row is told";
  EXPECT_FALSE(std::holds_alternative<position::None>(longer.outcome.started.position.kind));
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

TEST_F(NbceEngineTest, WhereTheMeanLeavesNothingTheSurestRowSpeaks) {
  const auto engine = MakeEngine();
  GenerateParams params =
      AskIds({SomeIds(40, 3), SomeIds(40, 911), SomeIds(40, 2222), SomeIds(40, 4321)}, SomeIds(3, 8), 40);
  params.contexts->nbce.pooling = NbcePooling::kMean;
  params.contexts->nbce.top_p = 0.05f;
  const auto stream = Start(*engine, params);
  bool fell_back = false;
  while (std::optional<Event> event = stream->Next()) {
    const auto* chunk = std::get_if<Chunk>(&*event);
    fell_back = fell_back || (chunk != nullptr && chunk->citation.has_value() && chunk->citation->fell_back);
  }
  EXPECT_TRUE(fell_back);
  EXPECT_GT(engine->telemetry().nbce_fallbacks.value(), 0);
  EXPECT_EQ(engine->telemetry().contexts.Read().sum, 4);
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

TEST_F(NbceEngineTest, SamplesOverDocumentsAreEachTheOneOfItsNumber) {
  GenerateParams params = AskFacts("Tell me about the village.", kFacts, 12);
  params.sampling.temperature = 1;
  params.seed = 9;
  params.samples = 3;
  std::vector<std::string> texts(3);
  const auto stream = Start(*engine_, params);
  while (std::optional<Event> event = stream->Next()) {
    if (const auto* chunk = std::get_if<Chunk>(&*event)) texts[chunk->sample] += chunk->text;
  }
  params.samples = 1;
  for (size_t sample = 0; sample < 3; ++sample) {
    params.first_sample = sample;
    EXPECT_EQ(AskDocuments(*engine_, params).outcome.text, texts[sample]);
  }
}

TEST_F(NbceEngineTest, CancelledExpiredAndPreemptedGroupsGiveEveryBlockBack) {
  EngineOptions options;
  options.kv_cache_bytes = int64_t{24} << 20;
  const auto engine = MakeEngine(options);
  std::vector<std::vector<TokenId>> documents;
  for (TokenId d = 0; d < 16; ++d) documents.push_back(SomeIds(engine->model().cache_tokens / 100, 100 * d));
  GenerateParams params = AskIds(documents, SomeIds(5, 9), 24);
  const Cited alone = AskDocuments(*engine, params);
  ASSERT_EQ(alone.outcome.ids.size(), 24u) << alone.outcome.finished.status;
  int expired = 0;
  std::vector<std::shared_ptr<EventStream>> streams;
  for (int i = 0; i < 12; ++i) {
    GenerateParams other = params;
    std::vector<Document>& own = std::get<std::vector<Document>>(other.contexts->source);
    for (Document& document : own) std::get<std::vector<TokenId>>(document.content).front() = 100 + i;
    Request request;
    request.params = i % 4 == 0 ? params : other;
    if (i % 4 == 3) request.deadline = Clock::now() + std::chrono::milliseconds(100 + 40 * i);
    streams.push_back(engine->Submit(std::move(request), nullptr));
  }
  for (size_t i = 0; i < streams.size(); ++i) {
    if (i % 4 == 1) {
      streams[i]->Next();
      engine->Cancel(*streams[i]);
    }
  }
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
  EXPECT_GT(engine->telemetry().preemptions.value(), 0);
  EXPECT_GT(expired, 0);
  EXPECT_TRUE(AllBlocksComeBack(*engine));
}

TEST_F(NbceEngineTest, TextThatWasHeldBackAndEntropiesOfTheLastTokensAreTold) {
  GenerateParams params = AskFacts("When was the bridge over the Arn opened?", kFacts, 24);
  params.output.token_ids = false;
  params.output.logprobs.reset();
  const std::string whole = AskDocuments(*engine_, params).outcome.text;
  ASSERT_GT(whole.size(), 12u);
  for (const std::string& stop :
       {whole.substr(whole.size() - 6), whole.substr(6, 5) + "never said", whole.substr(0, 4)}) {
    params.stopping.stop = {stop};
    int64_t entropies = 0, completion_tokens = 0;
    const auto stream = Start(*engine_, params);
    while (std::optional<Event> event = stream->Next()) {
      if (const auto* finished = std::get_if<Finished>(&*event)) completion_tokens = finished->usage.completion_tokens;
      const auto* chunk = std::get_if<Chunk>(&*event);
      if (chunk == nullptr) continue;
      EXPECT_TRUE(chunk->text.empty() || chunk->citation.has_value()) << chunk->text;
      entropies += std::ssize(chunk->entropies);
    }
    EXPECT_EQ(entropies, completion_tokens) << stop;
  }
}

TEST_F(NbceEngineTest, WhatWouldMultiplyIsRefusedBeforeItIsMade) {
  EngineOptions options;
  options.kv_cache_bytes = int64_t{64} << 20;
  const auto engine = MakeEngine(options);
  const auto message = [&](const std::variant<GenerateParams, ScoreParams>& params) {
    return std::string(AnswerTo(*engine, params).finished.status.message());
  };
  GenerateParams params = AskFacts("?", std::vector<std::string>(256, "a"), 1);
  params.contexts->document_template = std::string(100'000, 'x') + "{document}{question}";
  EXPECT_THAT(message(params), HasSubstr("all rows together"));
  params.contexts->document_template = std::string(10'000'000, 'x') + "{document}{question}";
  EXPECT_THAT(message(params), HasSubstr("contexts.document_template: at least"));
  params = Ask(std::string(600, 'y'), 1);
  params.contexts.emplace();
  params.contexts->source = LongDocument{std::string(2'000, 'z'), 100, 95};
  EXPECT_THAT(message(params), ::testing::AllOf(HasSubstr("contexts.long_document"), HasSubstr("together")));
  ScoreParams score;
  score.prompt = TextPrompt{"?"};
  score.contexts = AskFacts("?", kFacts, 1).contexts;
  score.answer = TextPrompt{std::string(8'000'000, 'a')};
  EXPECT_THAT(message(score), HasSubstr("answer.text: 8000000 bytes"));
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

TEST_F(NbceEngineTest, RefusesWhatCannotBeDoneNamingFieldAndDocument) {
  const auto message = [&](const GenerateParams& params) {
    const Outcome outcome = AnswerTo(*engine_, params);
    EXPECT_TRUE(outcome.finished.refused);
    EXPECT_EQ(outcome.finished.status.code(), absl::StatusCode::kInvalidArgument) << outcome.finished.status;
    return std::string(outcome.finished.status.message());
  };
  GenerateParams params = AskIds({SomeIds(20, 1), SomeIds(9000, 2)}, SomeIds(5, 3), 8);
  params.position.kind = position::None();
  EXPECT_THAT(message(params), ::testing::AllOf(HasSubstr("contexts.documents[1]: '1'"), HasSubstr("9005")));
  params = AskIds(std::vector<std::vector<TokenId>>(257, SomeIds(3, 1)), SomeIds(5, 3), 8);
  EXPECT_THAT(message(params), ::testing::AllOf(HasSubstr("257 documents"), HasSubstr("--max-rows")));
  params = AskIds({SomeIds(3, 1)}, SomeIds(5, 3), 8);
  params.samples = 129;
  EXPECT_THAT(message(params), HasSubstr("--max-rows"));
  params = AskIds({{1000000}}, SomeIds(5, 3), 8);
  EXPECT_THAT(message(params), HasSubstr("contexts.documents[0]"));
  params = AskFacts("Why?", kFacts, 8);
  params.contexts->document_template = "{question} {document}";
  EXPECT_THAT(message(params), HasSubstr("contexts.document_template"));
  params.contexts->document_template = "";
  params.contexts->source = LongDocument{"a text", 10, 10};
  EXPECT_THAT(message(params), HasSubstr("contexts.long_document.overlap_tokens"));
  EngineOptions options;
  options.kv_cache_bytes = int64_t{8} << 20;
  const auto small = MakeEngine(options);
  const auto refusal = [&](int64_t document_tokens, int64_t answer) {
    params = AskIds({SomeIds(40, 1), SomeIds(document_tokens, 2), SomeIds(40, 3)}, SomeIds(5, 3), answer);
    return std::string(AnswerTo(*small, params).finished.status.message());
  };
  EXPECT_THAT(refusal(400, 8), ::testing::AllOf(HasSubstr("contexts.documents"), HasSubstr("--kv-cache-memory")));
  EXPECT_THAT(refusal(50, 100),
              ::testing::AllOf(HasSubstr("contexts: the 150 tokens of 4 rows and 100 of the answer"),
                               HasSubstr("contexts.documents[1]: '1', of 55 tokens"), HasSubstr("--kv-cache-memory")));
}

}  // namespace
}  // namespace longhaul
