#include "engine/request/request_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/field_error.h"

namespace longhaul {
namespace {

using ::testing::HasSubstr;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

GenerateParams Generate() {
  GenerateParams params;
  params.prompt = TextPrompt{"x"};
  return params;
}

GenerateParams Ask() {
  GenerateParams params = Generate();
  params.contexts.emplace().source = std::vector<Document>{{"a", "one"}, {"b", std::vector<TokenId>{2}}};
  return params;
}

GenerateParams AskLong() {
  GenerateParams params = Generate();
  params.contexts.emplace().source = LongDocument{"a long text", 10, 9};
  return params;
}

ScoreParams Score() {
  ScoreParams params;
  params.prompt = TextPrompt{"x"};
  return params;
}

ScoreParams ScoreAnswer() {
  ScoreParams params = Score();
  params.contexts = Ask().contexts;
  params.answer = TextPrompt{"y"};
  return params;
}

template <typename Params>
absl::Status Check(Params params, int priority = 0) {
  Request request;
  request.params = std::move(params);
  request.priority = priority;
  return CheckRequest(request);
}

// What people read names the same field as what programs read.
void ExpectRefused(const absl::Status& status, const std::string& field, const std::string& problem = "") {
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << field << ": " << problem;
  const std::string message(status.message());
  EXPECT_EQ(message.substr(0, message.find(": ")), field) << message;
  EXPECT_EQ(FieldOf(status), field) << message;
  EXPECT_THAT(message, HasSubstr(problem));
}

std::vector<std::pair<TokenId, float>> Biases(size_t n) {
  std::vector<std::pair<TokenId, float>> biases;
  for (size_t i = 0; i < n; ++i) biases.emplace_back(static_cast<TokenId>(i), 1.0f);
  return biases;
}

TEST(RequestCheck, OrdinaryRequestsPass) {
  for (const auto& params : {Generate(), Ask(), AskLong()}) EXPECT_TRUE(Check(params).ok()) << Check(params);
  for (const auto& params : {Score(), ScoreAnswer()}) EXPECT_TRUE(Check(params).ok()) << Check(params);
}

TEST(RequestCheck, TheLastAllowedNumbersPassAndTheNextAreRefusedByName) {
  struct Case {
    const char* field;
    std::function<void(GenerateParams&, double)> set;
    std::vector<double> allowed, refused;
  };
  const auto sampling = [](float SamplingParams::*member) {
    return [=](GenerateParams& p, double x) { p.sampling.*member = static_cast<float>(x); };
  };
  const auto nbce = [](float NbceParams::*member) {
    return [=](GenerateParams& p, double x) { p.contexts->nbce.*member = static_cast<float>(x); };
  };
  constexpr double kMost = 4294967295;
  const Case cases[] = {
      {"sampling.temperature", sampling(&SamplingParams::temperature), {0, 100}, {-0.5, 100.5, kNan, kInfinity}},
      {"sampling.top_k",
       [](GenerateParams& p, double x) { p.sampling.top_k = static_cast<int32_t>(x); },
       {0, 1 << 30},
       {-1, (1 << 30) + 1.0}},
      {"sampling.top_p", sampling(&SamplingParams::top_p), {1e-9, 1}, {0, 1.5, kNan}},
      {"sampling.min_p", sampling(&SamplingParams::min_p), {0, 1}, {-0.5, 1.5, kNan}},
      {"sampling.repetition_penalty", sampling(&SamplingParams::repetition_penalty), {0.1, 100}, {0, 101, kNan}},
      {"sampling.presence_penalty", sampling(&SamplingParams::presence_penalty), {-100, 100}, {-101, 101, kInfinity}},
      {"sampling.frequency_penalty", sampling(&SamplingParams::frequency_penalty), {-100, 100}, {-101, 101, kNan}},
      {"sampling.logit_bias",
       [](GenerateParams& p, double x) {
         p.sampling.logit_bias = {{1, 0.0f}, {7, static_cast<float>(x)}};
       },
       {-1000, 1000},
       {-1001, 1001, kNan}},
      {"sampling.logit_bias",
       [](GenerateParams& p, double n) { p.sampling.logit_bias = Biases(static_cast<size_t>(n)); },
       {0, 1024},
       {1025}},
      {"sampling.logit_bias",
       [](GenerateParams& p, double id) {
         p.sampling.logit_bias = {{5, 1.0f}, {static_cast<TokenId>(id), 1.0f}};
       },
       {6},
       {4, 5}},
      {"output.top_logprobs",
       [](GenerateParams& p, double x) { p.output.logprobs = static_cast<int>(x); },
       {0, 20},
       {-1, 21}},
      {"stopping.stop",
       [](GenerateParams& p, double n) {
         p.stopping.stop = {"x", std::string(static_cast<size_t>(n), 'x')};
       },
       {1, 1024},
       {0, 1025}},
      {"stopping.stop",
       [](GenerateParams& p, double n) { p.stopping.stop.assign(static_cast<size_t>(n), "x"); },
       {16},
       {17}},
      {"stopping.stop_token_ids",
       [](GenerateParams& p, double n) { p.stopping.stop_token_ids.assign(static_cast<size_t>(n), 3); },
       {64},
       {65}},
      {"stopping.min_tokens",
       [](GenerateParams& p, double n) {
         p.stopping.max_tokens = 5;
         p.stopping.min_tokens = static_cast<int64_t>(n);
       },
       {0, 5},
       {-1, 6}},
      {"stopping.min_tokens",
       [](GenerateParams& p, double n) { p.stopping.min_tokens = static_cast<int64_t>(n); },
       {kMost},
       {kMost + 1}},
      {"stopping.max_tokens",
       [](GenerateParams& p, double n) { p.stopping.max_tokens = static_cast<int64_t>(n); },
       {0, kMost},
       {-1, kMost + 1}},
      {"samples", [](GenerateParams& p, double n) { p.samples = static_cast<int64_t>(n); }, {1, 100}, {-1, 0}},
      {"contexts.nbce.beta", nbce(&NbceParams::beta), {-1, 100}, {-1.5, 101, kNan}},
      {"contexts.nbce.eta", nbce(&NbceParams::eta), {0, 100}, {-1, 101, kInfinity}},
      {"contexts.nbce.top_p", nbce(&NbceParams::top_p), {0.5, 1}, {0, 1.5, kNan}},
      {"contexts.long_document.window_tokens",
       [](GenerateParams& p, double n) {
         p.contexts->source = LongDocument{"x", static_cast<int64_t>(n), std::nullopt};
       },
       {0, 1, kMost},
       {-1, kMost + 1}},
      {"contexts.long_document.overlap_tokens",
       [](GenerateParams& p, double n) {
         p.contexts->source = LongDocument{"x", 10, static_cast<int64_t>(n)};
       },
       {0, 9},
       {-1, 10}},
      // How long a window is that has no length of its own, the model says.
      {"contexts.long_document.overlap_tokens",
       [](GenerateParams& p, double n) {
         p.contexts->source = LongDocument{"x", 0, static_cast<int64_t>(n)};
       },
       {0, kMost},
       {-1, kMost + 1}},
  };
  for (const Case& c : cases) {
    for (const double allowed : c.allowed) {
      GenerateParams params = Ask();
      c.set(params, allowed);
      EXPECT_TRUE(Check(params).ok()) << c.field << " " << allowed << ": " << Check(params);
    }
    for (const double refused : c.refused) {
      GenerateParams params = Ask();
      c.set(params, refused);
      ExpectRefused(Check(params), c.field);
    }
  }
}

TEST(RequestCheck, AValueAndWhatIsAllowedAreTold) {
  GenerateParams params = Generate();
  params.sampling.temperature = kNan;
  EXPECT_EQ(std::string(Check(params).message()), "sampling.temperature: nan is not allowed; it must be 0 to 100");
  params = Generate();
  params.stopping.max_tokens = 3;
  params.stopping.min_tokens = 4;
  EXPECT_EQ(std::string(Check(params).message()), "stopping.min_tokens: 4 is more than stopping.max_tokens, 3");
}

TEST(RequestCheck, APriorityHasBounds) {
  for (const int allowed : {-100, 0, 100}) {
    EXPECT_TRUE(Check(Generate(), allowed).ok());
    EXPECT_TRUE(Check(Score(), allowed).ok());
  }
  for (const int wrong : {-101, 101}) {
    ExpectRefused(Check(Generate(), wrong), "priority", absl::StrCat(wrong));
    ExpectRefused(Check(Score(), wrong), "priority", absl::StrCat(wrong));
  }
}

TEST(RequestCheck, APromptIsNotEmpty) {
  const std::pair<Prompt, const char*> empty[] = {
      {TextPrompt{}, "prompt.text"}, {TokenPrompt{}, "prompt.token_ids"}, {ChatPrompt{}, "prompt.chat.messages"}};
  for (const auto& [prompt, field] : empty) {
    GenerateParams generate = Generate(), ask = Ask();
    ScoreParams score = Score();
    generate.prompt = ask.prompt = score.prompt = prompt;
    for (const absl::Status& status : {Check(generate), Check(ask), Check(score), CheckPrompt(prompt)}) {
      ExpectRefused(status, field, "the prompt is empty");
    }
  }
}

TEST(RequestCheck, AChatHasKnownRolesAndABoundedLength) {
  GenerateParams params;
  std::vector<ChatMessage>& messages = params.prompt.emplace<ChatPrompt>().messages;
  for (size_t i = 0; i < 1024; ++i) messages.push_back({i % 2 == 0 ? "user" : "assistant", "x"});
  EXPECT_TRUE(Check(params).ok());
  messages[3].role = "wiz\nard";
  ExpectRefused(Check(params), "prompt.chat.messages[3].role", "'wiz\\nard' is not one of system, user, assistant");
  ExpectRefused(CheckPrompt(params.prompt), "prompt.chat.messages[3].role");
  messages[3].role = "system";
  messages.push_back({"user", "x"});
  ExpectRefused(Check(params), "prompt.chat.messages", "1025");
}

TEST(RequestCheck, BesideContextsAChatIsOneQuestion) {
  GenerateParams params = Ask();
  params.prompt = ChatPrompt{{{"user", "Why?"}}};
  EXPECT_TRUE(Check(params).ok());
  params.prompt = ChatPrompt{{{"system", "Be brief."}, {"user", "Why?"}}};
  EXPECT_TRUE(Check(params).ok());
  params.contexts->document_template = "{document}{question}";
  ExpectRefused(Check(params), "prompt.chat.messages[0]", "document_template");
  params.contexts->document_template.clear();
  const std::vector<ChatMessage> refused[] = {{{"system", "a"}},
                                              {{"assistant", "a"}},
                                              {{"user", "a"}, {"user", "b"}},
                                              {{"user", "a"}, {"system", "b"}},
                                              {{"system", "a"}, {"system", "b"}},
                                              {{"system", "a"}, {"assistant", "b"}},
                                              {{"system", "a"}, {"user", "b"}, {"user", "c"}},
                                              {{"user", "a"}, {"assistant", "b"}, {"user", "c"}}};
  for (const std::vector<ChatMessage>& messages : refused) {
    params.prompt = ChatPrompt{messages};
    ExpectRefused(Check(params), "prompt.chat.messages", "exactly one user message");
  }
  params.prompt = ChatPrompt{{{"wizard", "a"}}};
  ExpectRefused(Check(params), "prompt.chat.messages[0].role");
}

TEST(RequestCheck, DocumentsAreNamedByIndexAndId) {
  GenerateParams params = Ask();
  const auto set = [&](std::vector<Document> documents) { params.contexts->source = std::move(documents); };
  set({});
  ExpectRefused(Check(params), "contexts.documents", "there are none");
  set({{"a", "x"}, {"b", ""}});
  ExpectRefused(Check(params), "contexts.documents[1]", "'b' is empty");
  set({{"a", std::vector<TokenId>()}, {"b", "x"}});
  ExpectRefused(Check(params), "contexts.documents[0]", "'a' is empty");
  set({{"a", "x"}, {"b", "x"}, {"a", "y"}});
  ExpectRefused(Check(params), "contexts.documents[2].id", "'a' is the id of document 0, too");
  set({{std::string(1024, 'a'), "x"}, {"", "x"}, {"", "x"}});
  EXPECT_TRUE(Check(params).ok()) << "those without an id are not alike";
  set({{std::string(1025, 'a'), "x"}});
  ExpectRefused(Check(params), "contexts.documents[0].id", "1025 bytes");
  params.contexts->source = LongDocument{};
  ExpectRefused(Check(params), "contexts.long_document.text", "empty");
}

TEST(RequestCheck, ABaselineAndAnAnswerAreTextOrIds) {
  for (const Prompt& prompt : {Prompt(TextPrompt{"x"}), Prompt(TokenPrompt{{1}})}) {
    ScoreParams params = ScoreAnswer();
    params.answer = params.contexts->baseline = prompt;
    EXPECT_TRUE(Check(params).ok()) << Check(params);
  }
  for (const Prompt& prompt : {Prompt(TextPrompt{}), Prompt(TokenPrompt{}), Prompt(ChatPrompt{{{"user", "x"}}})}) {
    ScoreParams params = ScoreAnswer();
    params.answer = prompt;
    ExpectRefused(Check(params), "answer", "must be text or token_ids");
    params.contexts->baseline = prompt;
    ExpectRefused(Check(params), "contexts.baseline", "must be text or token_ids");
  }
  ScoreParams params = ScoreAnswer();
  params.answer.reset();
  ExpectRefused(Check(params), "answer", "not given");
  params.contexts.reset();
  EXPECT_TRUE(Check(params).ok());
  params.answer = Prompt();
  ExpectRefused(Check(params), "answer", "without contexts there is none");
}

TEST(RequestCheck, AScoreHasARange) {
  ScoreParams params = Score();
  params.from_token = std::numeric_limits<int64_t>::max();
  EXPECT_TRUE(Check(params).ok()) << "how long the text is, is not known yet";
  params.from_token = -1;
  ExpectRefused(Check(params), "from_token", "-1");
  params.from_token = 0;
  params.last_tokens = -1;
  ExpectRefused(Check(params), "last_tokens", "-1");
  params.last_tokens = 0;
  for (const int wrong : {-1, 21}) {
    params.top_logprobs = wrong;
    ExpectRefused(Check(params), "top_logprobs", absl::StrCat(wrong));
  }
}

}  // namespace
}  // namespace longhaul
