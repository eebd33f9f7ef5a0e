#include "server/grpc/request_validation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <string>

namespace longhaul {
namespace {

using ::testing::HasSubstr;

v1::GenerateRequest Text() {
  v1::GenerateRequest request;
  request.mutable_prompt()->set_text("x");
  return request;
}

template <typename Request>
void ExpectRefused(const Request& request, const std::string& message) {
  const absl::Status status = Validate(request);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << message;
  EXPECT_THAT(std::string(status.message()), HasSubstr(message));
}

TEST(RequestValidation, TheLastAllowedValuesPassAndTheNextAreRefusedByName) {
  EXPECT_TRUE(Validate(Text()).ok());
  struct Case {
    const char* field;
    std::function<void(v1::GenerateRequest&, float)> set;
    float allowed, refused;
  };
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const auto sampling = [](auto setter) {
    return [=](v1::GenerateRequest& request, float value) { (request.mutable_sampling()->*setter)(value); };
  };
  const Case cases[] = {
      {"sampling.temperature", sampling(&v1::Sampling::set_temperature), 100, 100.5f},
      {"sampling.temperature", sampling(&v1::Sampling::set_temperature), 0, nan},
      {"sampling.top_p", sampling(&v1::Sampling::set_top_p), 1, 1.5f},
      {"sampling.top_p", sampling(&v1::Sampling::set_top_p), 1e-9f, 0},
      {"sampling.min_p", sampling(&v1::Sampling::set_min_p), 1, -0.5f},
      {"sampling.repetition_penalty", sampling(&v1::Sampling::set_repetition_penalty), 100, 0},
      {"sampling.presence_penalty", sampling(&v1::Sampling::set_presence_penalty), -100, -101},
      {"sampling.frequency_penalty", sampling(&v1::Sampling::set_frequency_penalty), 100, nan},
      {"sampling.logit_bias",
       [](v1::GenerateRequest& request, float value) {
         (*request.mutable_sampling()->mutable_logit_bias())[1] = value;
       },
       -1000, 1001},
      {"output.top_logprobs",
       [](v1::GenerateRequest& request, float value) {
         request.mutable_output()->set_top_logprobs(static_cast<uint32_t>(value));
       },
       20, 21},
      {"stopping.stop",
       [](v1::GenerateRequest& request, float n) {
         request.mutable_stopping()->add_stop(std::string(static_cast<size_t>(n), 'x'));
       },
       1024, 1025},
      {"stopping.min_tokens",
       [](v1::GenerateRequest& request, float n) {
         request.mutable_stopping()->set_max_tokens(5);
         request.mutable_stopping()->set_min_tokens(static_cast<uint32_t>(n));
       },
       5, 6},
  };
  for (const Case& c : cases) {
    v1::GenerateRequest request = Text();
    c.set(request, c.allowed);
    EXPECT_TRUE(Validate(request).ok()) << c.field << " " << c.allowed << ": " << Validate(request);
    request = Text();
    c.set(request, c.refused);
    ExpectRefused(request, c.field);
  }
}

TEST(RequestValidation, AChatHasKnownRolesAndABoundedLength) {
  v1::GenerateRequest request;
  v1::Chat& chat = *request.mutable_prompt()->mutable_chat();
  ExpectRefused(request, "prompt.chat.messages: the prompt is empty");
  for (int i = 0; i < 1024; ++i) chat.add_messages()->set_role(i % 2 == 0 ? "user" : "assistant");
  EXPECT_TRUE(Validate(request).ok());
  chat.mutable_messages(3)->set_role("wiz\nard");
  ExpectRefused(request, "prompt.chat.messages[3].role: 'wiz\\nard'");
  chat.mutable_messages(3)->set_role("system");
  chat.add_messages()->set_role("user");
  ExpectRefused(request, "prompt.chat.messages: 1025");
}

TEST(RequestValidation, TheOtherRequestsToo) {
  v1::ScoreRequest score;
  ExpectRefused(score, "prompt: not given");
  score.mutable_prompt()->set_text("x");
  EXPECT_TRUE(Validate(score).ok());
  score.set_last_tokens(0);
  ExpectRefused(score, "last_tokens");
  score.set_from_token(std::numeric_limits<uint64_t>::max());
  ExpectRefused(score, "from_token");
  v1::TokenizeRequest tokenize;
  tokenize.mutable_prompt()->set_text(std::string(8 << 20, 'x'));
  EXPECT_TRUE(Validate(tokenize).ok());
  tokenize.mutable_prompt()->mutable_text()->push_back('x');
  ExpectRefused(tokenize, "8388609");
  ExpectRefused(v1::DetokenizeRequest(), "token_ids");
  const std::vector<int32_t> most(2 << 20, 7);
  v1::DetokenizeRequest detokenize;
  detokenize.mutable_token_ids()->mutable_ids()->Add(most.begin(), most.end());
  EXPECT_TRUE(Validate(detokenize).ok());
  *tokenize.mutable_prompt()->mutable_token_ids() = detokenize.token_ids();
  EXPECT_TRUE(Validate(tokenize).ok());
  detokenize.mutable_token_ids()->add_ids(7);
  ExpectRefused(detokenize, "token_ids.ids: 2097153");
  tokenize.mutable_prompt()->mutable_token_ids()->add_ids(7);
  ExpectRefused(tokenize, "prompt.token_ids.ids: 2097153");
  ExpectRefused(v1::CancelRequestRequest(), "id: not given");
}

TEST(RequestValidation, APriorityHasBounds) {
  v1::GenerateRequest generate;
  generate.mutable_prompt()->set_text("x");
  v1::ScoreRequest score;
  score.mutable_prompt()->set_text("x");
  for (const int32_t allowed : {-100, 0, 100}) {
    generate.set_priority(allowed);
    score.set_priority(allowed);
    EXPECT_TRUE(Validate(generate).ok());
    EXPECT_TRUE(Validate(score).ok());
  }
  for (const int32_t wrong : {-101, 101}) {
    generate.set_priority(wrong);
    score.set_priority(wrong);
    ExpectRefused(generate, "priority: " + std::to_string(wrong));
    ExpectRefused(score, "priority: " + std::to_string(wrong));
  }
}

}  // namespace
}  // namespace longhaul
