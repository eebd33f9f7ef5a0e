#include "server/grpc/conversions.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <utility>

#include "engine/base/field_error.h"

namespace longhaul {
namespace {

TEST(Conversions, AGenerateRequestArrivesWhole) {
  v1::GenerateRequest request;
  request.mutable_prompt()->set_text("hello");
  v1::Sampling& sampling = *request.mutable_sampling();
  sampling.set_temperature(0.5f);
  sampling.set_top_k(7);
  sampling.set_top_p(0.25f);
  sampling.set_min_p(0.125f);
  sampling.set_repetition_penalty(1.5f);
  sampling.set_presence_penalty(2);
  sampling.set_frequency_penalty(3);
  (*sampling.mutable_logit_bias())[9] = 1;
  (*sampling.mutable_logit_bias())[4] = -2;
  sampling.set_seed(11);
  v1::Stopping& stopping = *request.mutable_stopping();
  stopping.set_max_tokens(0);
  stopping.set_min_tokens(3);
  stopping.add_stop("end");
  stopping.add_stop_token_ids(5);
  stopping.set_ignore_eos(true);
  request.mutable_output()->set_top_logprobs(0);
  request.mutable_output()->set_token_ids(true);
  request.mutable_output()->set_progress(true);

  const GenerateParams params = FromWire(std::move(request)).value();
  EXPECT_EQ(std::get<TextPrompt>(params.prompt).text, "hello");
  EXPECT_EQ(params.sampling.temperature, 0.5f);
  EXPECT_EQ(params.sampling.top_k, 7);
  EXPECT_EQ(params.sampling.top_p, 0.25f);
  EXPECT_EQ(params.sampling.min_p, 0.125f);
  EXPECT_EQ(params.sampling.repetition_penalty, 1.5f);
  EXPECT_EQ(params.sampling.presence_penalty, 2);
  EXPECT_EQ(params.sampling.frequency_penalty, 3);
  ASSERT_EQ(params.sampling.logit_bias.size(), 2u);
  EXPECT_EQ(params.sampling.logit_bias[0].first, 4);  // by id
  EXPECT_EQ(params.sampling.logit_bias[1].second, 1);
  EXPECT_EQ(params.seed, 11u);
  EXPECT_EQ(params.stopping.max_tokens, 0);
  EXPECT_EQ(params.stopping.min_tokens, 3);
  EXPECT_EQ(params.stopping.stop, std::vector<std::string>{"end"});
  EXPECT_EQ(params.stopping.stop_token_ids, std::vector<TokenId>{5});
  EXPECT_TRUE(params.stopping.ignore_eos);
  EXPECT_EQ(params.output.logprobs, 0);
  EXPECT_TRUE(params.output.token_ids);
  EXPECT_TRUE(params.output.progress);
}

TEST(Conversions, WhatIsNotGivenHasItsDefault) {
  v1::GenerateRequest request;
  request.mutable_prompt()->mutable_token_ids()->add_ids(3);
  const GenerateParams params = FromWire(std::move(request)).value();
  EXPECT_EQ(std::get<TokenPrompt>(params.prompt).ids, std::vector<TokenId>{3});
  EXPECT_EQ(params.sampling.temperature, 0);
  EXPECT_EQ(params.sampling.top_p, 1);
  EXPECT_EQ(params.sampling.repetition_penalty, 1);
  EXPECT_FALSE(params.seed.has_value());
  EXPECT_FALSE(params.stopping.max_tokens.has_value());
  EXPECT_FALSE(params.output.logprobs.has_value());
}

TEST(Conversions, AScoreRequestAndAChatArriveWhole) {
  v1::ScoreRequest request;
  v1::Message& message = *request.mutable_prompt()->mutable_chat()->add_messages();
  message.set_role("user");
  message.set_content("Hi");
  request.set_last_tokens(4);
  request.set_top_logprobs(2);
  const ScoreParams params = FromWire(std::move(request)).value();
  const auto& chat = std::get<ChatPrompt>(params.prompt);
  ASSERT_EQ(chat.messages.size(), 1u);
  EXPECT_EQ(chat.messages[0].role, "user");
  EXPECT_EQ(chat.messages[0].content, "Hi");
  EXPECT_EQ(params.from_token, 0);
  EXPECT_EQ(params.last_tokens, 4);
  EXPECT_EQ(params.top_logprobs, 2);
}

template <typename Message>
void ExpectRefused(Message&& message, const std::string& field, const std::string& words) {
  const absl::Status status = FromWire(std::move(message)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << field;
  EXPECT_EQ(FieldOf(status), field) << status;
  EXPECT_EQ(std::string(status.message()).find(field + ": " + words), 0u) << status;
}

TEST(Conversions, WhatOnlyTheWireCanSayIsRefusedByName) {
  const auto generate = [](const std::function<void(v1::GenerateRequest&)>& change) {
    v1::GenerateRequest request;
    request.mutable_prompt()->set_text("x");
    change(request);
    return request;
  };
  ExpectRefused(v1::GenerateRequest(), "prompt", "not given; one of text, token_ids, chat is needed");
  ExpectRefused(v1::ScoreRequest(), "prompt", "not given");
  ExpectRefused(v1::Prompt(), "prompt", "not given");
  ExpectRefused(generate([](auto& r) { r.mutable_contexts(); }), "contexts", "no documents; one of");
  ExpectRefused(
      generate([](auto& r) { r.mutable_contexts()->mutable_nbce()->set_pooling(static_cast<v1::Pooling>(9)); }),
      "contexts.nbce.pooling", "9 is not allowed; it must be one of MIN_ENTROPY, MEAN, MAX");
  ExpectRefused(generate([](auto& r) { r.mutable_sampling()->set_top_k(3'000'000'000); }), "sampling.top_k",
                "3000000000 is not allowed");
  ExpectRefused(generate([](auto& r) { r.mutable_output()->set_top_logprobs(1u << 31); }), "output.top_logprobs",
                "2147483648 is not allowed");
  ExpectRefused(generate([](auto& r) { r.mutable_position()->set_trained_length(uint64_t{1} << 63); }),
                "position.trained_length", "9223372036854775808 is not allowed");
  const auto score = [](const std::function<void(v1::ScoreRequest&)>& change) {
    v1::ScoreRequest request;
    request.mutable_prompt()->set_text("x");
    change(request);
    return request;
  };
  ExpectRefused(score([](auto& r) { r.set_last_tokens(0); }), "last_tokens", "0 is not allowed; it must be at least 1");
  ExpectRefused(score([](auto& r) { r.set_last_tokens(uint64_t{1} << 63); }), "last_tokens", "9223372036854775808");
  ExpectRefused(score([](auto& r) { r.set_from_token(UINT64_MAX); }), "from_token", "18446744073709551615");
  ExpectRefused(score([](auto& r) { r.set_top_logprobs(UINT32_MAX); }), "top_logprobs", "4294967295");
}

TEST(Conversions, AnAnswerThatIsGivenArrivesThoughItBeEmpty) {
  v1::ScoreRequest request;
  request.mutable_prompt()->set_text("x");
  EXPECT_FALSE(FromWire(v1::ScoreRequest(request)).value().answer.has_value());
  request.mutable_answer();
  EXPECT_TRUE(FromWire(v1::ScoreRequest(request)).value().answer.has_value());
}

TEST(Conversions, EveryReasonHasItsNameOnTheWire) {
  const std::pair<FinishReason, v1::FinishReason> all[] = {
      {FinishReason::kStop, v1::FINISH_REASON_STOP},
      {FinishReason::kLength, v1::FINISH_REASON_LENGTH},
      {FinishReason::kEos, v1::FINISH_REASON_EOS},
      {FinishReason::kCancelled, v1::FINISH_REASON_CANCELLED},
      {FinishReason::kDeadline, v1::FINISH_REASON_DEADLINE},
      {FinishReason::kStalled, v1::FINISH_REASON_STALLED},
      {FinishReason::kError, v1::FINISH_REASON_ERROR},
      {FinishReason::kUnavailable, v1::FINISH_REASON_UNAVAILABLE},
  };
  for (const auto& [reason, wire] : all) EXPECT_EQ(ToWire(Finished{.reason = reason, .status = {}}).reason(), wire);
}

TEST(Conversions, FinishedCarriesUsageAndTimings) {
  Finished finished;
  finished.usage = {10, 4, 7};
  finished.timings = {.queue = 1, .prefill = 2, .decode = 3, .first_token = 4};
  const v1::Finished wire = ToWire(finished);
  EXPECT_EQ(wire.usage().prompt_tokens(), 10u);
  EXPECT_EQ(wire.usage().cached_tokens(), 4u);
  EXPECT_EQ(wire.usage().completion_tokens(), 7u);
  EXPECT_EQ(wire.timings().queue(), 1);
  EXPECT_EQ(wire.timings().prefill(), 2);
  EXPECT_EQ(wire.timings().decode(), 3);
  EXPECT_EQ(wire.timings().first_token(), 4);
}

TEST(Conversions, WhatAnOperatorSeesArrivesWhole) {
  RequestInfo info;
  info.id = "r";
  info.client = "c";
  info.priority = -3;
  info.position.kind = position::Rerope{64};
  info.rows = 2;
  info.prompt_tokens = 30;
  info.age = 1.5;
  info.progress = {RequestPhase::kPrefill, 20, 4, 5};
  const v1::RequestInfo wire = ToWire(info);
  EXPECT_EQ(wire.id(), "r");
  EXPECT_EQ(wire.client(), "c");
  EXPECT_EQ(wire.priority(), -3);
  EXPECT_EQ(wire.position().rerope().window(), 64u);
  EXPECT_EQ(wire.state(), v1::REQUEST_STATE_PREFILL);
  EXPECT_EQ(wire.rows(), 2u);
  EXPECT_EQ(wire.prompt_tokens(), 30u);
  EXPECT_EQ(wire.tokens_read(), 20u);
  EXPECT_EQ(wire.tokens_generated(), 4u);
  EXPECT_EQ(wire.blocks(), 5u);
  EXPECT_EQ(wire.age(), 1.5);
  info.progress.phase = RequestPhase::kWaiting;
  EXPECT_EQ(ToWire(info).state(), v1::REQUEST_STATE_WAITING);
  info.progress.phase = RequestPhase::kDecode;
  EXPECT_EQ(ToWire(info).state(), v1::REQUEST_STATE_DECODE);
}

Chunk Piece(const std::string& text, TokenId id) {
  return Chunk{.text = text, .tokens = {{.id = id, .logprob = -1.0f, .top = {{id, -1.0f}, {id + 1, -2.0f}}}}};
}

TEST(Coalesce, JoinsChunksInOrder) {
  v1::GenerateResponse response;
  ToWire(Piece("a", 1), response);
  EXPECT_TRUE(Coalesce(Piece("b", 2), response));
  EXPECT_EQ(response.chunk().text(), "ab");
  EXPECT_EQ(response.chunk().token_ids(1), 2);
  EXPECT_EQ(response.chunk().logprobs_size(), 2);
  ASSERT_EQ(response.chunk().top_size(), 2);
  EXPECT_EQ(response.chunk().top(1).tokens(1).id(), 3);
}

TEST(Coalesce, LeavesEverythingElseAlone) {
  v1::GenerateResponse response;
  ToWire(Piece("a", 1), response);
  EXPECT_FALSE(Coalesce(Finished{}, response));
  EXPECT_FALSE(Coalesce(Progress{}, response));
  EXPECT_EQ(response.chunk().text(), "a");
  v1::GenerateResponse started;
  ToWire(Started{}, started);
  EXPECT_FALSE(Coalesce(Piece("a", 1), started));
  EXPECT_TRUE(started.has_started());
}

TEST(Coalesce, StopsAtAQuarterOfAMegabyte) {
  ScoreChunk chunk;
  chunk.tokens.resize(512);
  for (ScoredToken& token : chunk.tokens) token.top.resize(20, {40000, -1.0f});
  v1::ScoreResponse response;
  ToWire(chunk, response);
  int joined = 1;
  while (Coalesce(chunk, response)) ++joined;
  EXPECT_GT(joined, 1);
  EXPECT_GE(response.ByteSizeLong(), size_t{256} << 10);
  EXPECT_LT(response.ByteSizeLong(), size_t{512} << 10);
  EXPECT_EQ(response.scores().logprobs_size(), 512 * joined);
}

}  // namespace
}  // namespace longhaul
