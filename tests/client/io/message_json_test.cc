#include "client/io/message_json.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>

#include "longhaul/v1/admin.pb.h"
#include "longhaul/v1/inference.pb.h"

namespace longhaul {
namespace {

std::string Text(const google::protobuf::Message& message) {
  return MessageJson(message).dump();
}

TEST(MessageJsonTest, EveryFieldIsThere) {
  EXPECT_EQ(Text(v1::Chunk()), R"({"text":"","token_ids":[],"logprobs":[],"top":[],"sample":0,)"
                               R"("finish_reason":"FINISH_REASON_UNSPECIFIED","citation":null,"entropies":[]})");
  EXPECT_EQ(Text(v1::ListRequestsResponse()), R"({"requests":[]})");
  EXPECT_EQ(Text(v1::Rerope()), R"({"window":null})");
}

TEST(MessageJsonTest, OfAChoiceOnlyWhatWasChosen) {
  EXPECT_EQ(Text(v1::GenerateResponse()), "{}");
  v1::GenerateResponse response;
  response.mutable_progress()->set_total_tokens(7);
  EXPECT_EQ(Text(response), R"({"progress":{"prefilled_tokens":0,"total_tokens":7}})");
}

TEST(MessageJsonTest, NumbersAreNumbers) {
  v1::Window window;
  window.set_first_byte(UINT64_MAX);
  EXPECT_EQ(Text(window), R"({"first_byte":18446744073709551615,"bytes":0})");
  v1::Scores scores;
  for (const float x : {0.1f, -1.5f, 3e38f, std::numeric_limits<float>::denorm_min()}) scores.add_logprobs(x);
  EXPECT_EQ(Text(scores), R"({"first_token":0,"logprobs":[0.1,-1.5,3e+38,1e-45],"top":[]})");
  v1::Timings timings;
  timings.set_queue(0.1);
  timings.set_decode(1);
  EXPECT_EQ(Text(timings), R"({"queue":0.1,"prefill":0.0,"decode":1.0,"first_token":0.0})");
}

TEST(MessageJsonTest, WhatIsNoNumberInJsonIsNull) {
  v1::RowEntropies entropies;
  entropies.add_nats(std::nanf(""));
  entropies.add_nats(-INFINITY);
  EXPECT_EQ(Text(entropies), R"({"nats":[null,null]})");
  v1::DocumentUse use;
  use.set_mean_entropy(NAN);
  EXPECT_EQ(Text(use), R"({"tokens":0,"mean_entropy":null})");
}

TEST(MessageJsonTest, BytesAreBase64AndEnumsNames) {
  v1::TokenizeResponse tokens;
  tokens.add_pieces(std::string("\xff\0\xfe", 3));
  EXPECT_EQ(Text(tokens), R"({"ids":[],"pieces":["/wD+"]})");
  v1::Finished finished;
  finished.set_reason(v1::FINISH_REASON_EOS);
  EXPECT_EQ(MessageJson(finished)["reason"], "FINISH_REASON_EOS");
  finished.set_reason(static_cast<v1::FinishReason>(99));
  EXPECT_EQ(MessageJson(finished)["reason"], 99);
}

}  // namespace
}  // namespace longhaul
