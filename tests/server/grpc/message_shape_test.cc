#include "server/grpc/message_shape.h"

#include <gmock/gmock.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "longhaul/v1/inference.pb.h"

namespace longhaul {
namespace {

using ::testing::HasSubstr;

absl::Status Check(const std::string& bytes) {
  // In small parts, as from a network.
  google::protobuf::io::ArrayInputStream stream(bytes.data(), static_cast<int>(bytes.size()), 7);
  return CheckShape(stream, *v1::GenerateRequest::descriptor());
}

TEST(MessageShape, NumbersAreFreeAndPartsAreCounted) {
  v1::GenerateRequest request;
  for (int i = 0; i < 100000; ++i) request.mutable_prompt()->mutable_token_ids()->add_ids(i);
  EXPECT_TRUE(Check(request.SerializeAsString()).ok());
  for (int i = 0; i < 1024; ++i) (*request.mutable_sampling()->mutable_logit_bias())[i] = 1;
  for (int i = 0; i < 1024; ++i) request.mutable_stopping()->add_stop("");
  EXPECT_TRUE(Check(request.SerializeAsString()).ok());
  request.mutable_stopping()->add_stop("");
  EXPECT_THAT(std::string(Check(request.SerializeAsString()).message()),
              HasSubstr("stopping.stop: there are more than 1024"));
  request.clear_stopping();
  (*request.mutable_sampling()->mutable_logit_bias())[-1] = 1;
  EXPECT_THAT(std::string(Check(request.SerializeAsString()).message()), HasSubstr("sampling.logit_bias"));
}

TEST(MessageShape, PartsOfAFieldThatIsRepeatedAreCountedTogether) {
  v1::GenerateRequest request;
  for (int i = 0; i < 600; ++i) request.mutable_prompt()->mutable_chat()->add_messages();
  const std::string once = request.SerializeAsString();
  EXPECT_TRUE(Check(once).ok());
  EXPECT_THAT(std::string(Check(once + once).message()), HasSubstr("prompt.chat.messages"));
}

TEST(MessageShape, UnknownFieldsAreCountedAndWhatIsMalformedIsLeftToTheParser) {
  std::string unknown;
  for (int i = 0; i < 1024; ++i) unknown += "\xa0\x06\x01";  // field 100
  EXPECT_TRUE(Check(unknown).ok());
  EXPECT_THAT(std::string(Check(unknown + "\xa0\x06\x01").message()), HasSubstr("not known"));
  for (const char* bytes : {"\x0a", "\x0a\xff\xff\xff\xff\xff", "\x0a\x05\x0a\x09x", "\xff\xff\xff\xff\xff\xff"}) {
    EXPECT_TRUE(Check(bytes).ok());
  }
}

// The parser keeps all of these as fields that it does not know.
TEST(MessageShape, FieldsOfAnotherTypeOnTheWireAndWhatIsInGroupsAreNotKnown) {
  const auto repeated = [](std::string_view piece, int times) {
    std::string bytes;
    for (int i = 0; i < times; ++i) bytes += piece;
    return bytes;
  };
  const std::string open = "\xa3\x06", close = "\xa4\x06";  // a group of number 100
  const std::string_view number_as_text("\x3a\x00", 2), text("\x0a\x00", 2);
  for (const std::string& bytes : {repeated(number_as_text, 1025), open + repeated(text, 1024) + close,
                                   open + repeated(std::string_view("\x08\x01", 2), 1024) + close,
                                   repeated(open + close, 1025), repeated(open + open + close + close, 513)}) {
    EXPECT_THAT(std::string(Check(bytes).message()), HasSubstr("not known"));
  }
  EXPECT_TRUE(Check(open + repeated(text, 1023) + close).ok());
  EXPECT_TRUE(Check(close + repeated(text, 2000)).ok());  // malformed
}

}  // namespace
}  // namespace longhaul
