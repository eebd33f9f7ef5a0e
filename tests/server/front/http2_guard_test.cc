#include "server/front/http2_guard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "tests/server/front/http2_guard_fixture.h"

namespace longhaul {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;
using ::testing::Not;

TEST_F(Http2GuardTest, PassesOnWhatAnOrdinaryClientSends) {
  const std::string call = kHello + Headers(1) + Data(1, Message("hello"), kFlagEndStream) + kPing +
                           Frame(FrameType::kWindowUpdate, 0, 0, "\0\0\0\1");
  const std::string answer =
      kSettings + Headers(1) + Data(1, Message("world")) + Headers(1, kFlagEndHeaders | kFlagEndStream);
  for (const size_t piece : {size_t{1}, size_t{7}, call.size()}) {
    guard_.emplace(limits_, shared_, address_, now_);
    out_ = {};
    for (size_t i = 0; i < call.size(); i += piece) {
      ASSERT_EQ(Client(std::string_view(call).substr(i, piece)), Misbehaviour::kNone);
    }
    EXPECT_EQ(out_.to_server, call);
    EXPECT_EQ(shared_.streams, 1);
    for (size_t i = 0; i < answer.size(); i += piece) Server(std::string_view(answer).substr(i, piece));
    EXPECT_EQ(out_.to_client, answer);
    EXPECT_EQ(shared_.streams, 0);
    EXPECT_EQ(shared_.upload_bytes, 0);
  }
}

TEST_F(Http2GuardTest, ClosesWhoSpeaksSomethingElse) {
  EXPECT_EQ(Client("GET / HTTP/1.1\r\n"), Misbehaviour::kNotHttp2);
  guard_.emplace(limits_, shared_, address_, now_);
  EXPECT_EQ(Client(std::string(kHttp2Preface) + kPing), Misbehaviour::kNotHttp2);
}

TEST_F(Http2GuardTest, BoundsTheStreamsOfAConnection) {
  Begin();
  for (uint32_t i = 0; i < 10; ++i) ASSERT_EQ(Client(Headers(2 * i + 1)), Misbehaviour::kNone);
  EXPECT_EQ(Client(Headers(21)), Misbehaviour::kStreams);
  guard_.reset();
  EXPECT_EQ(shared_.streams, 0);
  EXPECT_EQ(address_.streams, 0);
}

TEST_F(Http2GuardTest, StreamsThatEndMakeRoom) {
  Begin();
  for (uint32_t i = 0; i < 100; ++i) {
    ASSERT_EQ(Client(Headers(2 * i + 1, kFlagEndHeaders | kFlagEndStream)), Misbehaviour::kNone) << i;
    Server(Headers(2 * i + 1, kFlagEndHeaders | kFlagEndStream));
  }
  EXPECT_EQ(shared_.streams, 0);
}

TEST_F(Http2GuardTest, ClosesWhoOpensAndResetsWithoutEnd) {
  Begin();
  Misbehaviour why = Misbehaviour::kNone;
  uint32_t n = 0;
  for (; n < 1000 && why == Misbehaviour::kNone; ++n) why = Client(Headers(2 * n + 1) + Reset(2 * n + 1));
  EXPECT_EQ(why, Misbehaviour::kResets);
  EXPECT_EQ(n, 11u);
}

TEST_F(Http2GuardTest, ClosesWhoHasTheServerReset) {
  Begin();
  Misbehaviour why = Misbehaviour::kNone;
  uint32_t n = 0;
  for (; n < 1000 && why == Misbehaviour::kNone; ++n) {
    ASSERT_EQ(Client(Headers(2 * n + 1)), Misbehaviour::kNone);
    why = Server(Reset(2 * n + 1));
  }
  EXPECT_EQ(why, Misbehaviour::kResets);
  EXPECT_EQ(n, 11u);
}

TEST_F(Http2GuardTest, AnAnswerBeforeTheRequestHasEndedIsNoReset) {
  Begin();
  for (uint32_t n = 0; n < 1000; ++n) {
    ASSERT_EQ(Client(Headers(2 * n + 1)), Misbehaviour::kNone);
    ASSERT_EQ(Server(Headers(2 * n + 1, kFlagEndHeaders | kFlagEndStream) + Reset(2 * n + 1)), Misbehaviour::kNone);
  }
}

TEST_F(Http2GuardTest, CallsThatAreGivenUpNowAndThenAreFine) {
  Begin();
  for (uint32_t n = 0; n < 1000; ++n) {
    now_ += milliseconds(11);
    ASSERT_EQ(Client(Headers(2 * n + 1) + Reset(2 * n + 1)), Misbehaviour::kNone) << n;
  }
}

TEST_F(Http2GuardTest, BoundsTheStreamsOfAllConnections) {
  limits_.max_connection_streams = 100;
  Begin();
  // One address may have half.
  const std::string acknowledgement = Frame(FrameType::kSettings, kFlagAck, 0, "");
  ASSERT_EQ(Client(acknowledgement), Misbehaviour::kNone);
  for (uint32_t i = 0; i < 15; ++i) ASSERT_EQ(Client(Headers(2 * i + 1)), Misbehaviour::kNone);
  EXPECT_EQ(out_.to_client, "");
  out_ = {};
  // The server hears of the surplus only what counts against windows.
  ASSERT_EQ(Client(Headers(31, 0) + Frame(FrameType::kContinuation, kFlagEndHeaders, 31, "\x82") + Data(31, "abc")),
            Misbehaviour::kNone);
  EXPECT_THAT(out_.to_client, HasSubstr("--max-streams"));
  EXPECT_THAT(out_.to_client, HasSubstr("grpc-status\x01"
                                        "8"));
  EXPECT_EQ(out_.to_server, Data(31, "abc"));
  ASSERT_EQ(Client(Headers(31, kFlagEndHeaders | kFlagEndStream) + kPing), Misbehaviour::kNone);
  EXPECT_EQ(out_.to_server, Data(31, "abc") + kPing);
  EXPECT_EQ(shared_.streams, 15);
  EXPECT_EQ(Refused(StreamRefusal::kStreams), 1);
  // There is room again.
  ASSERT_EQ(Client(Reset(1) + Headers(33)), Misbehaviour::kNone);
  EXPECT_EQ(Refused(StreamRefusal::kStreams), 1);
  // Two others have the rest; one that has not acknowledged the settings is closed.
  AddressUse second(limits_), third(limits_), fourth(limits_);
  Http2Guard one(limits_, shared_, second, now_), two(limits_, shared_, third, now_),
      three(limits_, shared_, fourth, now_);
  Http2Guard::Output out;
  for (Http2Guard* guard : {&one, &two, &three}) {
    guard->FromServer(kSettings, now_, out);
    ASSERT_EQ(guard->FromClient(kHello, now_, out), Misbehaviour::kNone);
  }
  ASSERT_EQ(two.FromClient(acknowledgement, now_, out), Misbehaviour::kNone);
  for (uint32_t i = 0; i < 15; ++i) ASSERT_EQ(one.FromClient(Headers(2 * i + 1), now_, out), Misbehaviour::kNone);
  EXPECT_THAT(out.to_client, Not(HasSubstr("--max-streams")));
  EXPECT_EQ(two.FromClient(Headers(1), now_, out), Misbehaviour::kNone);
  EXPECT_THAT(out.to_client, HasSubstr("--max-streams"));
  EXPECT_EQ(three.FromClient(Headers(1), now_, out), Misbehaviour::kStreams);
}

// The first headers after the acknowledgement tell gRPC that there is no table: it would take those after them for
// wrong.
TEST_F(Http2GuardTest, TheFirstHeadersReachTheServerEvenWhereThereIsNoRoom) {
  Begin();
  AddressUse others(limits_);
  others.streams = 15;
  guard_.emplace(limits_, shared_, others, now_);
  Begin();
  ASSERT_EQ(Client(Frame(FrameType::kSettings, kFlagAck, 0, "")), Misbehaviour::kNone);
  out_ = {};
  ASSERT_EQ(Client(Headers(1, kFlagEndHeaders | kFlagEndStream)), Misbehaviour::kNone);
  EXPECT_THAT(out_.to_client, HasSubstr("--max-streams"));
  EXPECT_EQ(out_.to_server.substr(0, Headers(1).size()), Headers(1, kFlagEndHeaders | kFlagEndStream));
  EXPECT_EQ(out_.to_server.size(), Headers(1).size() + Reset(1).size());
  out_ = {};
  ASSERT_EQ(Client(Headers(3)), Misbehaviour::kNone);
  EXPECT_THAT(out_.to_client, HasSubstr("--max-streams"));
  EXPECT_EQ(out_.to_server, "");
  EXPECT_EQ(others.streams, 15);
}

TEST_F(Http2GuardTest, ClosesWhoOpensWhatIsNoStreamOfAClient) {
  Begin();
  EXPECT_EQ(Client(Headers(2)), Misbehaviour::kHeaders);
}

TEST_F(Http2GuardTest, PassesHeadersOnWhenTheyAreWhole) {
  Begin();
  const std::string first = Headers(1, 0), last = Frame(FrameType::kContinuation, kFlagEndHeaders, 1, "\x82\x82");
  ASSERT_EQ(Client(first + last.substr(0, last.size() - 1)), Misbehaviour::kNone);
  EXPECT_EQ(out_.to_server, "");
  ASSERT_EQ(Client(last.substr(last.size() - 1)), Misbehaviour::kNone);
  EXPECT_EQ(out_.to_server, first + last);
}

TEST_F(Http2GuardTest, AFrameIsOfSixteenKibibytesAtMost) {
  Begin();
  ASSERT_EQ(Client(Frame(FrameType{77}, 0, 0, std::string(16384, 'x'))), Misbehaviour::kNone);
  EXPECT_EQ(Client(Frame(FrameType::kData, 0, 1, std::string(16385, 'x')).substr(0, 9)), Misbehaviour::kFrameSize);
}

TEST_F(Http2GuardTest, TheServersSettingsSayHowLargeAFrameMayBe) {
  const auto settings = [](std::string_view frame_size) {
    return Frame(FrameType::kSettings, 0, 0,
                 std::string("\0\4\0\x3f\xff\xff\0\5", 8).append(frame_size).append("\0\6\0\0\0\5", 6));
  };
  ASSERT_EQ(Client(kHello), Misbehaviour::kNone);
  for (const char byte : settings(std::string_view("\0\x3f\xff\xff", 4)) + kPing) Server(std::string(1, byte));
  EXPECT_EQ(out_.to_client, settings(std::string_view("\0\0\x40\0", 4)) + kPing);
}

TEST_F(Http2GuardTest, EmptyMessagesAfterTheFirstCountToo) {
  shared_.max_message_bytes = 1 << 20;
  Begin();
  const std::string empty(5000, '\0');  // a thousand of them
  ASSERT_EQ(Client(Headers(1) + Data(1, Message("x"))), Misbehaviour::kNone);
  for (int i = 0; i < 4; ++i) ASSERT_EQ(Client(Data(1, empty)), Misbehaviour::kNone);
  EXPECT_EQ(Refused(StreamRefusal::kMessageSize), 1);
}

TEST_F(Http2GuardTest, LargeFramesThatNobodyKnowsCostMore) {
  Begin();
  int n = 0;
  while (n < 1000 && Client(Frame(FrameType{77}, 0, 0, std::string(16000, 'x'))) == Misbehaviour::kNone) ++n;
  EXPECT_LT(n, 100);
}

// On however many connections.
TEST_F(Http2GuardTest, ClosesWhoseAddressIsRefusedAgainAndAgain) {
  limits_.max_connection_streams = 100;
  const std::string acknowledgement = Frame(FrameType::kSettings, kFlagAck, 0, "");
  Begin();
  ASSERT_EQ(Client(acknowledgement), Misbehaviour::kNone);
  uint32_t next = 1;
  for (int i = 0; i < 15; ++i, next += 2) ASSERT_EQ(Client(Headers(next)), Misbehaviour::kNone);
  for (int i = 0; i < 15; ++i, next += 2) ASSERT_EQ(Client(Headers(next)), Misbehaviour::kNone);
  EXPECT_EQ(Refused(StreamRefusal::kStreams), 15);
  EXPECT_EQ(Client(Headers(next)), Misbehaviour::kStreams);
  Http2Guard another(limits_, shared_, address_, now_);
  Http2Guard::Output out;
  another.FromServer(kSettings, now_, out);
  ASSERT_EQ(another.FromClient(kHello + acknowledgement, now_, out), Misbehaviour::kNone);
  EXPECT_EQ(another.FromClient(Headers(1), now_, out), Misbehaviour::kStreams);
  now_ += milliseconds(10);
  EXPECT_EQ(another.FromClient(Headers(3), now_, out), Misbehaviour::kNone);
}

TEST_F(Http2GuardTest, AnAddressThatGivesUpTooManyCallsGetsNoMore) {
  limits_.max_connection_streams = 1000;
  guard_.emplace(limits_, shared_, address_, now_);
  Begin();
  ASSERT_EQ(Client(Frame(FrameType::kSettings, kFlagAck, 0, "")), Misbehaviour::kNone);
  uint32_t n = 0;
  for (; n < 100 && Refused(StreamRefusal::kStreams) == 0; ++n) {
    ASSERT_EQ(Client(Headers(2 * n + 1) + Reset(2 * n + 1)), Misbehaviour::kNone);
  }
  EXPECT_EQ(n, 16u);
  now_ += seconds(1);
  ASSERT_EQ(Client(Headers(2 * n + 1)), Misbehaviour::kNone);
  EXPECT_EQ(Refused(StreamRefusal::kStreams), 1);
}

TEST_F(Http2GuardTest, BoundsHeaderBlocks) {
  Begin();
  const std::string kilobyte(1024, 'x');
  ASSERT_EQ(Client(Frame(FrameType::kHeaders, 0, 1, kilobyte)), Misbehaviour::kNone);
  Misbehaviour why = Misbehaviour::kNone;
  int n = 1;
  for (; n < 1000 && why == Misbehaviour::kNone; ++n) why = Client(Frame(FrameType::kContinuation, 0, 1, kilobyte));
  EXPECT_EQ(why, Misbehaviour::kHeaders);
  EXPECT_LE(n, 65);
}

TEST_F(Http2GuardTest, EmptyContinuationsCountToo) {
  Begin();
  ASSERT_EQ(Client(Frame(FrameType::kHeaders, 0, 1, "")), Misbehaviour::kNone);
  Misbehaviour why = Misbehaviour::kNone;
  int n = 0;
  for (; n < 100000 && why == Misbehaviour::kNone; ++n) why = Client(Frame(FrameType::kContinuation, 0, 1, ""));
  EXPECT_EQ(why, Misbehaviour::kHeaders);
}

TEST_F(Http2GuardTest, NothingStandsWithinAHeaderBlock) {
  Begin();
  ASSERT_EQ(Client(Headers(1, 0)), Misbehaviour::kNone);
  EXPECT_EQ(Client(kPing), Misbehaviour::kHeaders);
}

TEST_F(Http2GuardTest, ClosesFloodsOfFramesThatSayNothing) {
  for (const std::string& frame :
       {kPing, kSettings, Frame(FrameType::kPriority, 0, 1, "12345"), Data(1, ""), Frame(FrameType{77}, 0, 0, "?"),
        Frame(FrameType::kWindowUpdate, 0, 0, std::string("\0\0\0\1", 4)), Data(99, "x"), Reset(99),
        Data(1, "", kFlagEndStream), Data(1, std::string("\3\0\0\0", 4), kFlagPadded)}) {
    guard_.emplace(limits_, shared_, address_, now_);
    Begin();
    ASSERT_EQ(Client(Headers(1)), Misbehaviour::kNone);
    Misbehaviour why = Misbehaviour::kNone;
    int n = 0;
    for (; n < 100000 && why == Misbehaviour::kNone; ++n) why = Client(frame);
    EXPECT_EQ(why, Misbehaviour::kControlFrames);
    EXPECT_LE(n, 5002);
  }
}

TEST_F(Http2GuardTest, AnEagerReaderMayOpenItsWindowForEachFrame) {
  Begin();
  ASSERT_EQ(Client(Headers(1, kFlagEndHeaders | kFlagEndStream)), Misbehaviour::kNone);
  const std::string update = Frame(FrameType::kWindowUpdate, 0, 0, std::string("\0\0\0\1", 4));
  for (int i = 0; i < 20000; ++i) {
    Server(Data(1, "token"));
    out_ = {};
    ASSERT_EQ(Client(update + update + kPing), Misbehaviour::kNone) << i;
    out_ = {};
  }
}

TEST_F(Http2GuardTest, RefusesAMessageThatIsTooLargeByItsFirstBytes) {
  Begin();
  ASSERT_EQ(Client(Headers(1) + Data(1, Message(std::string(1001, 'x')).substr(0, 5))), Misbehaviour::kNone);
  EXPECT_THAT(out_.to_client, HasSubstr("a message of 1001 bytes is larger than --max-message-size, 1000"));
  EXPECT_EQ(Refused(StreamRefusal::kMessageSize), 1);
  // What is on its way goes on to gRPC, which counts it against the window of the connection.
  const std::string rest = Data(1, "more", kFlagEndStream);
  out_ = {};
  ASSERT_EQ(Client(rest), Misbehaviour::kNone);
  EXPECT_EQ(out_.to_server, rest);
  ASSERT_EQ(Client(Headers(3) + Data(3, Message(std::string(1000, 'x')), kFlagEndStream)), Misbehaviour::kNone);
  EXPECT_EQ(Refused(StreamRefusal::kMessageSize), 1);
}

TEST_F(Http2GuardTest, RefusesCompressedMessages) {
  Begin();
  ASSERT_EQ(Client(Headers(1) + Data(1, Message("x", /*compressed=*/true))), Misbehaviour::kNone);
  EXPECT_THAT(out_.to_client, HasSubstr("grpc-status\x02"
                                        "12"));
}

TEST_F(Http2GuardTest, ManySmallFramesHoldMoreThanTheirBytes) {
  Begin();
  ASSERT_EQ(Client(Headers(1) + Data(1, Message(std::string(900, 'x')).substr(0, 5))), Misbehaviour::kNone);
  int n = 0;
  while (Refused(StreamRefusal::kUploadMemory) == 0 && n < 900) {
    ASSERT_EQ(Client(Data(1, "x")), Misbehaviour::kNone);
    ++n;
  }
  EXPECT_LE(n, 2000 / 65 + 1);
}

// gRPC keeps them until the call ends, and most methods never look at them.
TEST_F(Http2GuardTest, BoundsWhatComesAfterTheFirstMessage) {
  shared_.max_message_bytes = 1 << 20;
  Begin();
  ASSERT_EQ(Client(Headers(1) + Data(1, Message(std::string(100000, 'x')))), Misbehaviour::kNone);
  EXPECT_EQ(shared_.upload_bytes, 0);
  const std::string further = Data(1, Message(std::string(1000, 'x')));
  int n = 0;
  for (; n < 100 && Refused(StreamRefusal::kMessageSize) == 0; ++n) ASSERT_EQ(Client(further), Misbehaviour::kNone);
  EXPECT_EQ(n, (16 << 10) / 1064 + 1);
  EXPECT_THAT(out_.to_client, HasSubstr("after the first message"));
  EXPECT_EQ(shared_.upload_bytes, 0);
}

TEST_F(Http2GuardTest, WhatIsRefusedCountsAsAReset) {
  Begin();
  Misbehaviour why = Misbehaviour::kNone;
  uint32_t n = 0;
  for (; n < 1000 && why == Misbehaviour::kNone; ++n) {
    why = Client(Headers(2 * n + 1) + Data(2 * n + 1, Message("x", /*compressed=*/true)));
  }
  EXPECT_EQ(why, Misbehaviour::kResets);
  EXPECT_EQ(n, 11u);
}

TEST_F(Http2GuardTest, AResetAfterTheAnswerIsFree) {
  Begin();
  for (uint32_t n = 0; n < 1000; ++n) {
    ASSERT_EQ(Client(Headers(2 * n + 1, kFlagEndHeaders | kFlagEndStream)), Misbehaviour::kNone);
    Server(Headers(2 * n + 1, kFlagEndHeaders | kFlagEndStream));
    ASSERT_EQ(Client(Reset(2 * n + 1)), Misbehaviour::kNone) << n;
  }
}

TEST_F(Http2GuardTest, TimeInWhichNothingWasReadIsNotTheClients) {
  Begin();
  ASSERT_EQ(Client(Headers(1) + Data(1, Message("hello").substr(0, 7)) + kPing.substr(0, 12)), Misbehaviour::kNone);
  now_ += seconds(40);
  guard_->Excuse(seconds(20));
  EXPECT_EQ(guard_->Check(now_, out_), Misbehaviour::kNone);
  EXPECT_EQ(Refused(StreamRefusal::kReceiveTimeout), 0);
  now_ += seconds(11);
  EXPECT_EQ(guard_->Check(now_, out_), Misbehaviour::kStalled);
}

TEST_F(Http2GuardTest, PaddingIsNoPartOfAMessage) {
  Begin();
  const std::string message = Message("four");
  ASSERT_EQ(Client(Headers(1) + Data(1, '\3' + message + std::string(3, '\0'), kFlagPadded)), Misbehaviour::kNone);
  EXPECT_EQ(shared_.upload_bytes, 0);
  now_ += seconds(100);
  EXPECT_EQ(guard_->Check(now_, out_), Misbehaviour::kNone);
  EXPECT_EQ(Refused(StreamRefusal::kReceiveTimeout), 0);
}

TEST_F(Http2GuardTest, AMessageThatDoesNotArriveEndsItsStreamAlone) {
  Begin();
  ASSERT_EQ(
      Client(Headers(1) + Data(1, Message("hello").substr(0, 7)) + Headers(3) + Headers(5) + Data(5, Message("done"))),
      Misbehaviour::kNone);
  now_ += seconds(30);
  EXPECT_EQ(guard_->Check(now_, out_), Misbehaviour::kNone);
  EXPECT_EQ(out_.to_client, "");
  now_ += milliseconds(1);
  EXPECT_EQ(guard_->Check(now_, out_), Misbehaviour::kNone);
  EXPECT_THAT(out_.to_client, HasSubstr("--receive-timeout, 30000 ms"));
  EXPECT_EQ(Refused(StreamRefusal::kReceiveTimeout), 2);
  EXPECT_EQ(shared_.streams, 1);
  EXPECT_EQ(shared_.upload_bytes, 0);
}

TEST_F(Http2GuardTest, TheNextMessageOfAStreamHasATimeOfItsOwn) {
  Begin();
  ASSERT_EQ(Client(Headers(1) + Data(1, Message("one"))), Misbehaviour::kNone);
  now_ += seconds(1000);
  ASSERT_EQ(Client(Data(1, Message("two").substr(0, 6))), Misbehaviour::kNone);
  now_ += seconds(29);
  guard_->Check(now_, out_);
  EXPECT_EQ(Refused(StreamRefusal::kReceiveTimeout), 0);
  now_ += seconds(2);
  guard_->Check(now_, out_);
  EXPECT_EQ(Refused(StreamRefusal::kReceiveTimeout), 1);
}

TEST_F(Http2GuardTest, AFrameOrAGreetingThatStopsClosesTheConnection) {
  ASSERT_EQ(Client(std::string(kHttp2Preface)), Misbehaviour::kNone);
  now_ += seconds(31);
  EXPECT_EQ(guard_->Check(now_, out_), Misbehaviour::kStalled);
  guard_.emplace(limits_, shared_, address_, now_);
  Begin();
  now_ += seconds(100);
  EXPECT_EQ(guard_->Check(now_, out_), Misbehaviour::kNone);
  ASSERT_EQ(Client(kPing.substr(0, 12)), Misbehaviour::kNone);
  now_ += seconds(31);
  EXPECT_EQ(guard_->Check(now_, out_), Misbehaviour::kStalled);
}

TEST_F(Http2GuardTest, AddsFramesOnlyBetweenFrames) {
  Begin();
  // The server is in the middle of a frame of stream 3 and then of a header block, the client in one of stream 5.
  ASSERT_EQ(Client(Headers(1) + Headers(3, kFlagEndHeaders | kFlagEndStream) + Headers(5)), Misbehaviour::kNone);
  const std::string answer = Headers(3) + Data(3, "0123456789");
  Server(std::string_view(answer).substr(0, answer.size() - 4));
  out_ = {};
  const std::string slow = Data(5, Message("0123456789"));
  ASSERT_EQ(Client(Data(1, Message("x", true)) + slow.substr(0, 14)), Misbehaviour::kNone);
  EXPECT_EQ(out_.to_client, "");
  EXPECT_TRUE(
      out_.to_server.ends_with(Frame(FrameType::kRstStream, 0, 1, std::string("\0\0\0\x08", 4)) + slow.substr(0, 14)));
  Server("6789" + Headers(3, 0));
  EXPECT_TRUE(out_.to_client.starts_with("6789"));
  EXPECT_THAT(out_.to_client, HasSubstr("grpc-status"));
  EXPECT_TRUE(out_.to_client.ends_with(Headers(3, 0)));
  out_ = {};
  now_ += seconds(1);
  ASSERT_EQ(Client(slow.substr(14) + Data(5, Message("y", true))), Misbehaviour::kNone);
  EXPECT_EQ(out_.to_client, "");
  const std::string rest = Frame(FrameType::kContinuation, kFlagEndHeaders, 3, "");
  Server(rest);
  EXPECT_TRUE(out_.to_client.starts_with(rest));
  EXPECT_THAT(out_.to_client, HasSubstr("grpc-status"));
}

TEST_F(Http2GuardTest, ACallThatIsBeingAnsweredIsResetAlone) {
  Begin();
  ASSERT_EQ(Client(Headers(1) + Data(1, Message("one"))), Misbehaviour::kNone);
  Server(Headers(1));
  out_ = {};
  ASSERT_EQ(Client(Data(1, Message("two", true))), Misbehaviour::kNone);
  EXPECT_EQ(out_.to_client, Frame(FrameType::kRstStream, 0, 1, std::string("\0\0\0\x0b", 4)));
}

// Whatever comes, in whatever pieces: what is passed on is what came, up to the frames that are added, and what is held
// of the shared bounds is given back.
TEST_F(Http2GuardTest, HoldsAgainstAnyBytes) {
  std::mt19937 random(13);
  const auto below = [&](uint32_t n) { return static_cast<uint32_t>(random() % n); };
  for (int round = 0; round < 2000; ++round) {
    guard_.emplace(limits_, shared_, address_, now_);
    std::string client = kHello, server = kSettings;
    for (int i = 0; i < 30; ++i) {
      std::string frame = Frame(FrameType{static_cast<uint8_t>(below(11))}, static_cast<int>(below(16)),
                                2 * below(8) + 1, std::string(below(40), static_cast<char>(below(3))));
      if (below(20) == 0) frame[below(static_cast<uint32_t>(frame.size()))] = static_cast<char>(random());
      (below(3) == 0 ? server : client) += frame;
    }
    Misbehaviour why = Misbehaviour::kNone;
    while (why == Misbehaviour::kNone && (!client.empty() || !server.empty())) {
      const size_t n = std::min<size_t>(1 + below(50), client.size());
      if (n > 0) why = Client(std::string_view(client).substr(0, n));
      client.erase(0, n);
      const size_t m = std::min<size_t>(1 + below(50), server.size());
      Server(std::string_view(server).substr(0, m));
      server.erase(0, m);
      now_ += milliseconds(below(2000));
      if (why == Misbehaviour::kNone) why = guard_->Check(now_, out_);
      EXPECT_GE(shared_.upload_bytes, 0);
      EXPECT_LE(shared_.upload_bytes, shared_.max_upload_bytes());
    }
    guard_.reset();
    ASSERT_EQ(shared_.upload_bytes, 0);
    ASSERT_EQ(shared_.further_bytes, 0);
    ASSERT_EQ(shared_.streams, 0);
    ASSERT_EQ(address_.streams, 0);
    out_ = {};
  }
}

}  // namespace
}  // namespace longhaul
