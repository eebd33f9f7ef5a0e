#include "server/grpc/text_bounds.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "engine/base/field_error.h"

namespace longhaul {
namespace {

void ExpectRefused(const absl::Status& status, const std::string& field, const std::string& words) {
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << field;
  EXPECT_EQ(FieldOf(status), field);
  EXPECT_EQ(std::string(status.message()).find(field + ": " + words), 0u) << status;
}

TEST(TextBounds, OfWhatOneCallMayTokenizeAndDetokenize) {
  v1::TokenizeRequest tokenize;
  tokenize.mutable_prompt()->set_text(std::string(8 << 20, 'x'));
  EXPECT_TRUE(CheckTokenize(tokenize).ok());
  tokenize.mutable_prompt()->mutable_text()->push_back('x');
  ExpectRefused(CheckTokenize(tokenize), "prompt", "8388609 bytes");
  ExpectRefused(CheckDetokenize(v1::DetokenizeRequest()), "token_ids", "there are none");
  const std::vector<int32_t> most(2 << 20, 7);
  v1::DetokenizeRequest detokenize;
  detokenize.mutable_token_ids()->mutable_ids()->Add(most.begin(), most.end());
  EXPECT_TRUE(CheckDetokenize(detokenize).ok());
  *tokenize.mutable_prompt()->mutable_token_ids() = detokenize.token_ids();
  EXPECT_TRUE(CheckTokenize(tokenize).ok());
  detokenize.mutable_token_ids()->add_ids(7);
  ExpectRefused(CheckDetokenize(detokenize), "token_ids.ids", "2097153");
  tokenize.mutable_prompt()->mutable_token_ids()->add_ids(7);
  ExpectRefused(CheckTokenize(tokenize), "prompt.token_ids.ids", "2097153");
  EXPECT_TRUE(CheckTextBytes("pieces", kMaxTextBytes).ok());
  ExpectRefused(CheckTextBytes("pieces", kMaxTextBytes + 1), "pieces", "8388609 bytes");
}

}  // namespace
}  // namespace longhaul
