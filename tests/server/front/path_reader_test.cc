#include "server/front/path_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <string>
#include <string_view>

#include "tests/server/front/http2_guard_fixture.h"

namespace longhaul {
namespace {

using testing::HasSubstr;
using testing::Optional;

constexpr std::string_view kWatch = "/grpc.health.v1.Health/Watch";

// A literal that enters no table, `:path` from the static one.
std::string Literal(std::string_view path) {
  return std::string("\x04").append(1, static_cast<char>(path.size())).append(path);
}

std::string Call(uint32_t stream, std::string_view path) {
  return Frame(FrameType::kHeaders, kFlagEndHeaders, stream, std::string("\x83").append(Literal(path)));
}

TEST(PathReader, FindsThePathInFramesOfEveryForm) {
  PathReader reader;
  EXPECT_THAT(reader.Read(Call(1, kWatch)), Optional(std::string(kWatch)));
  EXPECT_THAT(reader.Read(Headers(1)), Optional(std::string()));
  const std::string block = Literal(kWatch);
  const std::string cut = Frame(FrameType::kHeaders, 0, 1, block.substr(0, 7)) +
                          Frame(FrameType::kContinuation, 0, 1, "") +
                          Frame(FrameType::kContinuation, kFlagEndHeaders, 1, block.substr(7));
  EXPECT_THAT(reader.Read(cut), Optional(std::string(kWatch)));
  const std::string beside = std::string("\3\0\0\0\0\0", 6).append(block).append("abc");
  EXPECT_THAT(reader.Read(Frame(FrameType::kHeaders, kFlagEndHeaders | kFlagPadded | kFlagPriority, 1, beside)),
              Optional(std::string(kWatch)));
}

TEST(PathReader, KnowsWhatOtherWritersCompress) {
  nghttp2_hd_deflater* deflater = nullptr;
  ASSERT_EQ(nghttp2_hd_deflate_new(&deflater, 4096), 0);
  PathReader reader;
  for (int i = 0; i < 3; ++i) {  // later ones refer to the first
    std::string name = ":path", value(kWatch);
    nghttp2_nv field{.name = reinterpret_cast<uint8_t*>(name.data()),
                     .value = reinterpret_cast<uint8_t*>(value.data()),
                     .namelen = name.size(),
                     .valuelen = value.size(),
                     .flags = NGHTTP2_NV_FLAG_NONE};
    std::array<uint8_t, 200> block;
    const ssize_t size = nghttp2_hd_deflate_hd(deflater, block.data(), block.size(), &field, 1);
    ASSERT_GT(size, 0);
    const std::string_view bytes(reinterpret_cast<const char*>(block.data()), static_cast<size_t>(size));
    EXPECT_THAT(reader.Read(Frame(FrameType::kHeaders, kFlagEndHeaders, 1, bytes)), Optional(value));
  }
  nghttp2_hd_deflate_del(deflater);
}

TEST(PathReader, SaysWhatIsMalformed) {
  for (const std::string_view block :
       {std::string_view("\xff\xff\xff\xff\xff\xff"), std::string_view("\x04\x09/short")})
    EXPECT_EQ(PathReader().Read(Frame(FrameType::kHeaders, kFlagEndHeaders, 1, block)), std::nullopt);
  // The two sides might not take the same one.
  EXPECT_EQ(
      PathReader().Read(Frame(FrameType::kHeaders, kFlagEndHeaders, 1, Literal(kWatch).append(Literal("/other")))),
      std::nullopt);
  EXPECT_EQ(PathReader().Read(Frame(FrameType::kHeaders, kFlagEndHeaders | kFlagPadded, 1, "\x7f")), std::nullopt);
  EXPECT_EQ(PathReader().Read(Frame(FrameType::kHeaders, kFlagEndHeaders | kFlagPriority, 1, "\x82")), std::nullopt);
}

class MethodTest : public Http2GuardTest {};

TEST_F(MethodTest, MessagesToServicesOfGrpcAreSmall) {
  shared_.max_message_bytes = 1 << 20;
  Begin();
  ASSERT_EQ(Client(Call(1, kWatch) + Data(1, Message(std::string(4096, 'x')))), Misbehaviour::kNone);
  EXPECT_EQ(Refused(StreamRefusal::kMessageSize), 0);
  ASSERT_EQ(Client(Call(3, kWatch) + Data(3, Message(std::string(4097, 'x')))), Misbehaviour::kNone);
  EXPECT_EQ(Refused(StreamRefusal::kMessageSize), 1);
  EXPECT_THAT(out_.to_client, HasSubstr("gRPC's own services"));
  ASSERT_EQ(Client(Call(5, "/longhaul.v1.InferenceService/Tokenize") + Data(5, Message(std::string(4097, 'x')))),
            Misbehaviour::kNone);
  EXPECT_EQ(Refused(StreamRefusal::kMessageSize), 1);
  EXPECT_EQ(Client(Frame(FrameType::kHeaders, kFlagEndHeaders, 7, "\xff\xff\xff\xff\xff\xff")), Misbehaviour::kHeaders);
}

}  // namespace
}  // namespace longhaul
