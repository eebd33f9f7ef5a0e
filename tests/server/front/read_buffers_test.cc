#include "server/front/read_buffers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "tests/server/front/http2_guard_fixture.h"

namespace longhaul {
namespace {

using testing::HasSubstr;

// The same, byte by byte: every byte of a buffer counts that has one byte which a stream keeps.
class PlainReadBuffers {
 public:
  void Read(int64_t bytes) { end_ += bytes; }
  void Keep(int64_t bytes, int stream) {
    for (int64_t at = end_ - bytes; at < end_; ++at) kept_[stream].insert(at / ReadBuffers::kBytes);
  }
  void KeepFrame(int stream) { ++frames_[stream]; }
  void Release(int stream) {
    kept_.erase(stream);
    frames_.erase(stream);
  }
  int64_t held() const {
    std::set<int64_t> numbers;
    for (const auto& [stream, buffers] : kept_) numbers.insert(buffers.begin(), buffers.end());
    int64_t held = 0;
    for (const int64_t number : numbers)
      held += std::min(end_, (number + 1) * ReadBuffers::kBytes) - number * ReadBuffers::kBytes;
    for (const auto& [stream, frames] : frames_) held += frames * ReadBuffers::kFrameBytes;
    return held;
  }

 private:
  int64_t end_ = 0;
  std::map<int, std::set<int64_t>> kept_;
  std::map<int, int64_t> frames_;
};

TEST(ReadBuffers, HoldsWhatThePlainCountHolds) {
  std::mt19937 random(17);
  const auto below = [&](uint32_t n) { return static_cast<int64_t>(random() % n); };
  for (int round = 0; round < 100; ++round) {
    ReadBuffers buffers;
    PlainReadBuffers plain;
    std::array<ReadBuffers::Kept, 3> streams;
    for (int i = 0; i < 60; ++i) {
      const int64_t bytes = below(4) == 0 ? below(150000) : below(5000);
      buffers.Read(bytes);
      plain.Read(bytes);
      const int stream = static_cast<int>(below(4));
      if (stream < 3) {
        const int64_t own = bytes - std::min<int64_t>(bytes, below(20));
        buffers.Keep(own, streams[stream]);
        plain.Keep(own, stream);
        if (below(2) == 0) {
          buffers.KeepFrame(streams[stream]);
          plain.KeepFrame(stream);
        }
      }
      if (const int ended = static_cast<int>(below(12)); ended < 3) {
        buffers.Release(streams[ended]);
        plain.Release(ended);
      }
      ASSERT_EQ(buffers.held(), plain.held());
    }
    for (ReadBuffers::Kept& kept : streams) buffers.Release(kept);
    ASSERT_EQ(buffers.held(), 0);
  }
}

class UploadMemoryTest : public Http2GuardTest {
 protected:
  UploadMemoryTest() {
    limits_.max_connection_streams = 100;
    shared_.max_message_bytes = 1 << 20;
  }
  // So much of the connection is read between two little frames of a stream.
  const std::string around_ = Data(99, std::string(16384, 'x')) + Data(99, std::string(16384, 'x'));
  // The larger part of a message.
  const std::string most_ = Message(std::string(900000, 'x')).substr(0, 800000);
};

TEST_F(UploadMemoryTest, BoundsWhatMessagesThatAreNotCompleteHold) {
  Begin();
  const std::string two = Headers(1) + Data(1, most_) + Headers(3) + Data(3, most_);
  ASSERT_EQ(Client(two), Misbehaviour::kNone);
  EXPECT_EQ(out_.to_client, "");
  const int64_t frames = 2 * (800000 / 16384 + 1);
  EXPECT_EQ(shared_.upload_bytes, static_cast<int64_t>(kHello.size() + two.size()) + frames * ReadBuffers::kFrameBytes);
  ASSERT_EQ(Client(Headers(5) + Data(5, most_)), Misbehaviour::kNone);
  EXPECT_THAT(out_.to_client, HasSubstr("--max-message-size"));
  EXPECT_EQ(Refused(StreamRefusal::kUploadMemory), 1);
  EXPECT_LT(shared_.upload_bytes, 1600000 + 2 * ReadBuffers::kBytes);
  ASSERT_EQ(Client(Data(1, std::string(100005, 'x'), kFlagEndStream) + Reset(3)), Misbehaviour::kNone);
  EXPECT_EQ(shared_.upload_bytes, 0);
}

TEST_F(UploadMemoryTest, OneAddressLeavesRoomForTheMessagesOfOthers) {
  Begin();
  for (uint32_t stream = 1; stream < 20; stream += 2) {
    ASSERT_EQ(Client(Headers(stream) + Data(stream, most_)), Misbehaviour::kNone);
  }
  EXPECT_EQ(Refused(StreamRefusal::kUploadMemory), 8);
  AddressUse second(limits_);
  Http2Guard other(limits_, shared_, second, now_);
  Http2Guard::Output out;
  other.FromServer(kSettings, now_, out);
  ASSERT_EQ(other.FromClient(kHello + Headers(1) + Data(1, most_) + Data(1, std::string(100005, 'x'), kFlagEndStream),
                             now_, out),
            Misbehaviour::kNone);
  EXPECT_EQ(Refused(StreamRefusal::kUploadMemory), 8);
}

TEST_F(UploadMemoryTest, LittleFramesCountAsWhatTheyKeep) {
  Begin();
  ASSERT_EQ(Client(Headers(1) + Data(1, Message(std::string(100000, 'x')).substr(0, 5))), Misbehaviour::kNone);
  int n = 0;
  for (; n < 1000 && Refused(StreamRefusal::kUploadMemory) == 0; ++n)
    ASSERT_EQ(Client(around_ + Data(1, "x")), Misbehaviour::kNone);
  EXPECT_NEAR(n, (2 << 20) / (32 << 10), 1);
  EXPECT_EQ(shared_.upload_bytes, 0);
}

TEST_F(UploadMemoryTest, SoDoThoseAfterTheFirstMessage) {
  Begin();
  ASSERT_EQ(Client(Headers(1) + Data(1, Message("one"))), Misbehaviour::kNone);
  int n = 0;
  for (; n < 1000 && Refused(StreamRefusal::kUploadMemory) == 0; ++n)
    ASSERT_EQ(Client(around_ + Data(1, Message("two"))), Misbehaviour::kNone);
  EXPECT_NEAR(n, (2 << 20) / (32 << 10), 1);
  EXPECT_EQ(shared_.further_bytes, 0);
}

TEST_F(UploadMemoryTest, WhatOthersSendFillsTheBufferThatIsKept) {
  Begin();
  ASSERT_EQ(Client(Headers(1) + Data(1, Message("hello").substr(0, 7))), Misbehaviour::kNone);
  const int64_t before = shared_.upload_bytes;
  for (int n = 0; n < 20; ++n) ASSERT_EQ(Client(around_), Misbehaviour::kNone);
  EXPECT_EQ(shared_.upload_bytes, ReadBuffers::kBytes + ReadBuffers::kFrameBytes);
  EXPECT_LT(before, 200);
  // Where there is no room for that either, it is the keeper that ends.
  address_.upload_bytes += 2 << 20;
  ASSERT_EQ(Client(Headers(3) + Data(3, Message("hello").substr(0, 7))), Misbehaviour::kNone);
  EXPECT_EQ(Refused(StreamRefusal::kUploadMemory), 1);
  address_.upload_bytes -= 2 << 20;
  ASSERT_EQ(Client(Headers(5) + Data(5, Message("hello").substr(0, 7))), Misbehaviour::kNone);
  address_.upload_bytes += 2 << 20;
  ASSERT_EQ(Client(Data(99, "x")), Misbehaviour::kNone);
  EXPECT_EQ(Refused(StreamRefusal::kUploadMemory), 2);
  address_.upload_bytes -= 2 << 20;
  EXPECT_EQ(shared_.streams, 1);
}

// gRPC drops what it holds of a stream when it has the whole of the frame that ends it.
TEST_F(UploadMemoryTest, AStreamKeepsItsBytesUntilTheFrameThatEndsItIsWhole) {
  Begin();
  const std::string begun = Headers(1) + Data(1, most_);
  const std::string reset = Reset(1), trailers = Headers(1, kFlagEndStream);
  const std::string continuation = Frame(FrameType::kContinuation, kFlagEndHeaders, 1, "");
  const std::string whole = Data(1, std::string(100005, 'x'), kFlagEndStream);
  const size_t most = whole.size() - 1;
  for (const auto& [first, rest] : {std::pair(reset.substr(0, 9), reset.substr(9)), std::pair(trailers, continuation),
                                    std::pair(whole.substr(0, most), whole.substr(most))}) {
    guard_.emplace(limits_, shared_, address_, now_);
    Begin();
    ASSERT_EQ(Client(begun + first), Misbehaviour::kNone);
    EXPECT_GE(shared_.upload_bytes, 800000);
    ASSERT_EQ(Client(rest), Misbehaviour::kNone);
    EXPECT_EQ(shared_.upload_bytes, 0);
  }
  EXPECT_EQ(Refused(StreamRefusal::kUploadMemory), 0);
}

TEST_F(UploadMemoryTest, AStreamThatIsRefusedKeepsItsBytesUntilTheServerKnows) {
  Begin();
  ASSERT_EQ(Client(Headers(1) + Data(1, most_) + Headers(3) + Data(3, most_) + Headers(5)), Misbehaviour::kNone);
  ASSERT_EQ(Client(Data(5, std::string_view(most_).substr(0, 400000))), Misbehaviour::kNone);
  const std::string frame = Data(5, std::string(16384, 'x'));
  const std::string_view half = std::string_view(frame).substr(0, 10000),
                         other_half = std::string_view(frame).substr(10000);
  int n = 0;
  for (; n < 100; ++n) {
    ASSERT_EQ(Client(half), Misbehaviour::kNone);
    if (Refused(StreamRefusal::kUploadMemory) > 0) break;
    ASSERT_EQ(Client(other_half), Misbehaviour::kNone);
  }
  EXPECT_EQ(Refused(StreamRefusal::kUploadMemory), 1);
  EXPECT_GT(shared_.upload_bytes, 2 << 20);
  // Others of the connection do not pay for what is about to go.
  ASSERT_EQ(Client(other_half), Misbehaviour::kNone);
  EXPECT_EQ(Refused(StreamRefusal::kUploadMemory), 1);
  EXPECT_LT(shared_.upload_bytes, 1600000 + 2 * ReadBuffers::kBytes);
}

TEST_F(UploadMemoryTest, WhatComesAfterFirstMessagesTakesNoRoomFromThem) {
  Begin();
  AddressUse second(limits_);
  Http2Guard other(limits_, shared_, second, now_);
  Http2Guard::Output out;
  other.FromServer(kSettings, now_, out);
  const std::string watch = Headers(1) + Data(1, Message("one"));
  ASSERT_EQ(Client(watch), Misbehaviour::kNone);
  ASSERT_EQ(other.FromClient(kHello + watch, now_, out), Misbehaviour::kNone);
  for (int n = 0; n < 60; ++n) {
    ASSERT_EQ(Client(around_ + Data(1, Message("two"))), Misbehaviour::kNone);
    ASSERT_EQ(other.FromClient(around_ + Data(1, Message("two")), now_, out), Misbehaviour::kNone);
  }
  EXPECT_GT(shared_.further_bytes, 3 << 20);
  EXPECT_EQ(shared_.upload_bytes, 0);
  ASSERT_EQ(Client(Headers(3) + Data(3, most_)), Misbehaviour::kNone);
  EXPECT_EQ(Refused(StreamRefusal::kUploadMemory), 0);
}

TEST_F(UploadMemoryTest, MessagesThatArriveSideBySideCountOnce) {
  Begin();
  const std::string one = Message(std::string(1000000, 'x'));
  ASSERT_EQ(Client(Headers(1) + Headers(3)), Misbehaviour::kNone);
  for (size_t at = 0; at < one.size(); at += 16384) {
    const std::string_view part = std::string_view(one).substr(at, 16384);
    ASSERT_EQ(Client(Data(1, part) + Data(3, part)), Misbehaviour::kNone);
  }
  EXPECT_EQ(Refused(StreamRefusal::kUploadMemory), 0);
  EXPECT_EQ(shared_.upload_bytes, 0);
}

}  // namespace
}  // namespace longhaul
