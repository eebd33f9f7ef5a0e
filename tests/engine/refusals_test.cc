// What the engine refuses, and how it says so.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/engine/fake_engine_fixture.h"

namespace longhaul {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class RefusalsTest : public ::testing::Test {
 protected:
  static FakeRunner::Options RunnerOptions() {
    FakeRunner::Options options;
    options.geometry.n_blocks = 100;  // 400 tokens, fewer than the model was trained for
    return options;
  }
  void ExpectRefused(std::variant<GenerateParams, ScoreParams> params, const ::testing::Matcher<std::string>& message) {
    const Outcome outcome = AnswerTo(*fake_.engine, std::move(params));
    EXPECT_TRUE(outcome.finished.refused);
    EXPECT_EQ(outcome.finished.status.code(), absl::StatusCode::kInvalidArgument) << outcome.finished.status;
    EXPECT_THAT(std::string(outcome.finished.status.message()), message);
    EXPECT_EQ(fake_.runner->submitted(), 0) << "it cost a step";
  }

  FakeEngine fake_{{}, RunnerOptions()};
};

TEST_F(RefusalsTest, NameTheNumbersOfWhatCanNeverFit) {
  GenerateParams params = Ask("abcde", 9000);
  params.position.kind = position::None();
  ExpectRefused(params, AllOf(HasSubstr("stopping.max_tokens"), HasSubstr("5 tokens"), HasSubstr("9000"),
                              HasSubstr("400"), HasSubstr("--kv-cache-memory")));
  ScoreParams score;
  score.prompt = TokenPrompt{std::vector<TokenId>(9000, 5)};
  ExpectRefused(score, AllOf(HasSubstr("prompt"), HasSubstr("9000")));
  // A window that holds everything keeps every key twice: half as much again, so two thirds of the tokens.
  params.position.kind = position::Rerope{512};
  ExpectRefused(params, HasSubstr("exceed 264, "));
  EXPECT_EQ(fake_.engine->telemetry().rejections[Rejection::kNoBlocks].value(), 3);
}

// Told in bytes, which are all that is known of a text that was not tokenized.
TEST_F(RefusalsTest, NeedNoTokensOfATextThatIsTooLong) {
  ExpectRefused(Ask(std::string(size_t{60} << 20, ' '), 1),
                AllOf(HasSubstr("prompt.text"), HasSubstr("62914560 bytes"), HasSubstr("400")));
  GenerateParams params = Ask("", 1);
  params.prompt = ChatPrompt{{{"user", std::string(size_t{30} << 20, ' ')}, {"user", std::string(100, ' ')}}};
  ExpectRefused(params, AllOf(HasSubstr("prompt.chat"), HasSubstr("31457380 bytes"), HasSubstr("400")));
  params.prompt = TokenPrompt{std::vector<TokenId>(1 << 20, 5)};
  ExpectRefused(params, AllOf(HasSubstr("prompt.token_ids"), HasSubstr("1048576"), HasSubstr("400")));
}

TEST_F(RefusalsTest, NameTheFieldOfABadPrompt) {
  GenerateParams params = Ask("", 4);
  ExpectRefused(params, HasSubstr("prompt.text"));
  params.prompt = TokenPrompt{{5, -1}};
  ExpectRefused(params, AllOf(HasSubstr("prompt.token_ids.ids[1]"), HasSubstr("-1"), HasSubstr("258")));
  params.prompt = TokenPrompt{{259}};
  ExpectRefused(params, HasSubstr("259"));
  params.prompt = TokenPrompt{};
  ExpectRefused(params, HasSubstr("empty"));
  params.prompt = TextPrompt{"ab\xff"};
  ExpectRefused(params, AllOf(HasSubstr("prompt.text"), HasSubstr("UTF-8")));
  params.prompt = ChatPrompt{{{"wizard", "hello"}}};
  ExpectRefused(params, HasSubstr("messages[0].role"));
  params.prompt = ChatPrompt{};
  ExpectRefused(params, HasSubstr("prompt.chat"));
  params = Ask("a", 4);
  params.stopping.stop_token_ids = {1 << 20};
  ExpectRefused(params, HasSubstr("stopping.stop_token_ids[0]"));
  ScoreParams score;
  score.prompt = TextPrompt{"a"};
  ExpectRefused(score, HasSubstr("at least 2"));
  score.prompt = TextPrompt{"abcd"};
  score.from_token = 4;
  ExpectRefused(score, HasSubstr("from_token"));
}

TEST(Refusals, OfMoreSamplesThanRowsThatCanRun) {
  EngineOptions options;
  options.max_rows = 4;
  FakeEngine fake(options);
  GenerateParams params = Ask("a", 1);
  params.samples = 5;
  const Outcome outcome = AnswerTo(*fake.engine, params);
  EXPECT_EQ(outcome.finished.status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(outcome.finished.status.message()), HasSubstr("samples: 5 is not allowed"));
  params.samples = 4;
  EXPECT_TRUE(AnswerTo(*fake.engine, params).finished.status.ok());
}

// --- With documents ---

class DocumentRefusalsTest : public ::testing::Test {
 protected:
  static std::vector<TokenId> Ids(size_t n, TokenId first) {
    std::vector<TokenId> ids(n, 'x');
    ids.front() = first;
    return ids;
  }
  static GenerateParams AskIds(const std::vector<std::vector<TokenId>>& documents, int64_t max_tokens) {
    GenerateParams params = Ask("", max_tokens);
    params.prompt = TokenPrompt{Ids(5, 'q')};
    std::vector<Document> source;
    for (size_t i = 0; i < documents.size(); ++i) source.push_back({std::to_string(i), documents[i]});
    params.contexts.emplace();
    params.contexts->source = source;
    params.contexts->document_template = "{document}{question}";
    return params;
  }
  static GenerateParams AskTexts(const std::vector<std::string>& documents) {
    GenerateParams params = Ask("?", 1);
    std::vector<Document> source;
    for (size_t i = 0; i < documents.size(); ++i) source.push_back({"doc" + std::to_string(i), documents[i]});
    params.contexts.emplace();
    params.contexts->source = source;
    return params;
  }
  static FakeRunner::Options Cache(int64_t blocks) {
    FakeRunner::Options options;
    options.limits = {.max_tokens = 512, .max_logit_rows = 512};
    options.geometry.n_blocks = blocks;
    return options;
  }
  static std::string MessageOf(FakeEngine& fake, const std::variant<GenerateParams, ScoreParams>& params) {
    const Outcome outcome = AnswerTo(*fake.engine, params);
    EXPECT_TRUE(outcome.finished.refused);
    EXPECT_EQ(outcome.finished.status.code(), absl::StatusCode::kInvalidArgument) << outcome.finished.status;
    EXPECT_EQ(fake.runner->submitted(), 0) << "it cost a step";
    return std::string(outcome.finished.status.message());
  }
};

TEST_F(DocumentRefusalsTest, NameFieldAndDocument) {
  FakeEngine fake({}, Cache(2000));
  GenerateParams params = AskIds({Ids(20, 1), Ids(600, 2)}, 8);
  params.position.kind = position::None();
  EXPECT_THAT(MessageOf(fake, params), AllOf(HasSubstr("contexts.documents[1]: '1'"), HasSubstr("605")));
  EXPECT_THAT(MessageOf(fake, AskIds(std::vector<std::vector<TokenId>>(257, Ids(3, 1)), 8)),
              AllOf(HasSubstr("257 documents"), HasSubstr("--max-rows")));
  params = AskIds({Ids(3, 1)}, 8);
  params.samples = 129;
  EXPECT_THAT(MessageOf(fake, params), HasSubstr("--max-rows"));
  EXPECT_THAT(MessageOf(fake, AskIds({{1000000}}, 8)), HasSubstr("contexts.documents[0]"));
  params = AskTexts({"a", "b"});
  params.contexts->document_template = "{question} {document}";
  EXPECT_THAT(MessageOf(fake, params), HasSubstr("contexts.document_template"));
  params.contexts->document_template = "";
  params.contexts->source = LongDocument{"a text", 10, 10};
  EXPECT_THAT(MessageOf(fake, params), HasSubstr("contexts.long_document.overlap_tokens"));
}

TEST_F(DocumentRefusalsTest, NameTheLongestOfRowsThatDoNotFitTogether) {
  FakeEngine fake({}, Cache(75));  // 300 tokens
  const auto ask = [](size_t document_tokens, int64_t answer) {
    return AskIds({Ids(40, 1), Ids(document_tokens, 2), Ids(40, 3)}, answer);
  };
  EXPECT_THAT(MessageOf(fake, ask(400, 8)), AllOf(HasSubstr("contexts.documents"), HasSubstr("--kv-cache-memory")));
  EXPECT_THAT(MessageOf(fake, ask(50, 100)),
              AllOf(HasSubstr("contexts: the 150 tokens of 4 rows and 100 of the answer"),
                    HasSubstr("contexts.documents[1]: '1', of 55 tokens"), HasSubstr("--kv-cache-memory")));
}

TEST_F(DocumentRefusalsTest, ComeBeforeAnythingMultiplies) {
  FakeEngine fake({}, Cache(1000));
  GenerateParams params = AskTexts(std::vector<std::string>(256, "a"));
  params.contexts->document_template = std::string(10'000, 'x') + "{document}{question}";
  EXPECT_THAT(MessageOf(fake, params), HasSubstr("all rows together"));
  params.contexts->document_template = std::string(10'000'000, 'x') + "{document}{question}";
  EXPECT_THAT(MessageOf(fake, params), HasSubstr("contexts.document_template: at least"));
  params = Ask(std::string(600, 'y'), 1);
  params.contexts.emplace();
  params.contexts->source = LongDocument{std::string(2'000, 'z'), 100, 92};
  EXPECT_THAT(MessageOf(fake, params), AllOf(HasSubstr("contexts.long_document"), HasSubstr("together")));
  ScoreParams score;
  score.prompt = TextPrompt{"?"};
  score.contexts = AskTexts({"a", "b"}).contexts;
  score.answer = TextPrompt{std::string(8'000'000, 'a')};
  EXPECT_THAT(MessageOf(fake, score), HasSubstr("answer.text: 8000000 bytes"));
}

}  // namespace
}  // namespace longhaul
