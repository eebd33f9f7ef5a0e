// What the engine itself says to requests that are wrong, whoever hands them in: a service, or a program that embeds
// it.

#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/field_error.h"
#include "tests/engine/engine_fixture.h"
#include "tests/support/fake_engine.h"

namespace longhaul {
namespace {

using Params = std::variant<GenerateParams, ScoreParams>;

GenerateParams AskAbout(std::vector<Document> documents) {
  GenerateParams params = Ask("why", 4);
  params.contexts.emplace().source = std::move(documents);
  return params;
}

template <typename P>
Params With(P params, auto change) {
  change(params);
  return params;
}

TEST(Refusal, ATemperatureThatIsNoNumberIsNoneForAnyEngine) {
  FakeEngine fake;
  GenerateParams params = Ask("a", 4);
  params.sampling.temperature = std::numeric_limits<float>::quiet_NaN();
  const Finished finished = AnswerTo(*fake.engine, params).finished;
  EXPECT_TRUE(finished.refused);
  EXPECT_EQ(finished.status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(FieldOf(finished.status), "sampling.temperature");
  EXPECT_EQ(fake.engine->Stats().waiting, 0);
  EXPECT_EQ(AnswerTo(*fake.engine, Ask("a", 2)).text, "bc") << "it lives on";
}

// Nothing that a request is checked against before its texts are read depends on who else waits.
TEST(Refusal, WhatIsWrongIsToldBeforeThatThereIsNoRoom) {
  EngineOptions options;
  options.max_queue = 0;
  FakeEngine fake(options);
  EXPECT_EQ(AnswerTo(*fake.engine, Ask("a", 2)).finished.status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(FieldOf(AnswerTo(*fake.engine, Ask("", 2)).finished.status), "prompt.text");
}

TEST(Refusal, ATextToTokenizeIsCheckedLikeAPrompt) {
  FakeEngine fake;
  EXPECT_EQ(FieldOf(fake.engine->Tokenize(TextPrompt{}, false).status()), "prompt.text");
  EXPECT_EQ(FieldOf(fake.engine->Tokenize(ChatPrompt{{{"wizard", "x"}}}, false).status()),
            "prompt.chat.messages[0].role");
  EXPECT_EQ(FieldOf(fake.engine->Tokenize(TextPrompt{"\xff"}, false).status()), "prompt.text");
  EXPECT_EQ(FieldOf(fake.engine->Detokenize(std::vector<TokenId>{1, 999}, false, 10).status()), "token_ids.ids[1]");
  EXPECT_EQ(FieldOf(fake.engine->Detokenize(std::vector<TokenId>(11, 97), false, 10).status()), "token_ids");
}

// People and programs are told of the same field, also of what only the model can tell.
TEST(Refusal, EachNamesAField) {
  FakeEngine fake;
  const GenerateParams ask = AskAbout({{"a: b", "one"}, {"c", "two"}});
  ScoreParams score;
  score.prompt = TextPrompt{"abc"};
  ScoreParams answer = score;
  answer.contexts = ask.contexts;
  answer.answer = TextPrompt{"yes"};
  const std::string too_long(100000, 'x');
  const std::vector<std::pair<std::string, Params>> cases = {
      {"sampling.top_p", With(ask, [](auto& p) { p.sampling.top_p = 2; })},
      {"sampling.logit_bias", With(ask,
                                   [](auto& p) {
                                     p.sampling.logit_bias = {{999, 1.0f}};
                                   })},
      {"stopping.stop_token_ids[1]", With(ask,
                                          [](auto& p) {
                                            p.stopping.stop_token_ids = {1, 999};
                                          })},
      {"stopping.max_tokens", With(Ask("a", 4), [](auto& p) { p.stopping.max_tokens = 1 << 30; })},
      {"stopping.min_tokens", With(Ask("a", 4),
                                   [](auto& p) {
                                     p.stopping.max_tokens.reset();
                                     p.stopping.min_tokens = 1 << 30;
                                   })},
      {"samples", With(Ask("a", 4), [](auto& p) { p.samples = 100000; })},
      {"contexts", With(ask, [](auto& p) { p.samples = 200; })},
      {"prompt.text", With(ask, [](auto& p) { p.prompt = TextPrompt{"a\xff"}; })},
      {"prompt.text", With(Ask("a\xff", 4), [](auto&) {})},
      {"prompt.text", With(Ask(too_long, 4), [](auto&) {})},
      {"prompt.token_ids", With(ask, [](auto& p) { p.prompt = TokenPrompt{std::vector<TokenId>(100000, 1)}; })},
      {"prompt.token_ids.ids[1]", With(ask,
                                       [](auto& p) {
                                         p.prompt = TokenPrompt{{1, 999}};
                                       })},
      {"prompt.token_ids.ids[1]", With(Ask("a", 4),
                                       [](auto& p) {
                                         p.prompt = TokenPrompt{{1, -1}};
                                       })},
      {"prompt.chat", With(Ask("a", 4),
                           [&](auto& p) {
                             p.prompt = ChatPrompt{{{"user", too_long}}};
                           })},
      {"contexts.documents[0]", AskAbout({{"a: b", "\xff"}})},
      {"contexts.documents[1]", AskAbout({{"a: b", "x"}, {"c: d", too_long}})},
      {"contexts.documents[0].token_ids.ids[0]", AskAbout({{"a: b", std::vector<TokenId>{999}}})},
      {"contexts.document_template", With(ask, [](auto& p) { p.contexts->document_template = "{question}"; })},
      {"contexts.baseline.text", With(ask, [](auto& p) { p.contexts->baseline = TextPrompt{"\xff"}; })},
      {"contexts.baseline.token_ids.ids[0]", With(ask, [](auto& p) { p.contexts->baseline = TokenPrompt{{999}}; })},
      {"contexts.long_document", With(ask,
                                      [](auto& p) {
                                        p.contexts->source = LongDocument{std::string(300, 'x'), 1, 0};
                                      })},
      {"contexts.long_document.text", With(ask,
                                           [](auto& p) {
                                             p.contexts->source = LongDocument{"\xff", 0, {}};
                                           })},
      {"contexts.long_document.overlap_tokens", With(ask,
                                                     [](auto& p) {
                                                       p.contexts->source = LongDocument{"x", 0, 1000};
                                                     })},
      {"position.linear.factor", With(ask, [](auto& p) { p.position.kind = position::Linear{-1}; })},
      {"position.per_pair.factors", With(ask, [](auto& p) { p.position.kind = position::PerPair{{1}}; })},
      {"position.trained_length", With(ask, [](auto& p) { p.position.trained_length = 1; })},
      {"prompt", With(score, [](auto& p) { p.prompt = TextPrompt{"a"}; })},
      {"from_token", With(score, [](auto& p) { p.from_token = 3; })},
      {"last_tokens", With(score, [](auto& p) { p.last_tokens = 3; })},
      {"answer.token_ids.ids[0]", With(answer, [](auto& p) { p.answer = TokenPrompt{{999}}; })},
      {"answer.text", With(answer, [](auto& p) { p.answer = TextPrompt{"\xff"}; })},
      {"answer.text", With(answer, [&](auto& p) { p.answer = TextPrompt{too_long}; })},
  };
  for (const auto& [field, params] : cases) {
    const Finished finished = AnswerTo(*fake.engine, params).finished;
    const std::string message(finished.status.message());
    EXPECT_TRUE(finished.refused) << field;
    EXPECT_EQ(finished.status.code(), absl::StatusCode::kInvalidArgument) << field << ": " << finished.status;
    EXPECT_EQ(FieldOf(finished.status), field) << message;
    EXPECT_EQ(message.substr(0, message.find(": ")), field) << message;
  }
}

}  // namespace
}  // namespace longhaul
