#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "server/front/frame_writer.h"
#include "server/front/http2_guard.h"

namespace longhaul {

// Frames as clients and servers write them, each whole.
inline std::string Frame(FrameType type, int flags, uint32_t stream, std::string_view payload) {
  std::string frame;
  for (const size_t shift : {16, 8, 0}) frame.push_back(static_cast<char>(payload.size() >> shift));
  frame.push_back(static_cast<char>(type));
  frame.push_back(static_cast<char>(flags));
  for (const int shift : {24, 16, 8, 0}) frame.push_back(static_cast<char>(stream >> shift));
  return frame.append(payload);
}

inline std::string Message(std::string_view content, bool compressed = false) {
  std::string message(1, compressed ? '\1' : '\0');
  for (const size_t shift : {24, 16, 8, 0}) message.push_back(static_cast<char>(content.size() >> shift));
  return message.append(content);
}

inline std::string Headers(uint32_t stream, int flags = kFlagEndHeaders) {
  return Frame(FrameType::kHeaders, flags, stream, "\x82");
}
// In as many frames as it takes; `flags` of the last one.
inline std::string Data(uint32_t stream, std::string_view payload, int flags = 0) {
  constexpr size_t kMax = 16384;
  std::string frames;
  for (; payload.size() > kMax; payload.remove_prefix(kMax))
    frames += Frame(FrameType::kData, 0, stream, payload.substr(0, kMax));
  return frames + Frame(FrameType::kData, flags, stream, payload);
}
inline std::string Reset(uint32_t stream) {
  return Frame(FrameType::kRstStream, 0, stream, std::string(4, '\0'));
}
inline const std::string kSettings = Frame(FrameType::kSettings, 0, 0, "");
inline const std::string kHello = std::string(kHttp2Preface) + kSettings;
inline const std::string kPing = Frame(FrameType::kPing, 0, 0, "12345678");

class Http2GuardTest : public testing::Test {
 protected:
  Http2GuardTest() {
    shared_.max_message_bytes = 1000;
    guard_.emplace(limits_, shared_, address_, now_);
  }

  Misbehaviour Client(std::string_view bytes) { return guard_->FromClient(bytes, now_, out_); }
  Misbehaviour Server(std::string_view bytes) { return guard_->FromServer(bytes, now_, out_); }
  // Both sides have said hello.
  void Begin() {
    ASSERT_EQ(Client(kHello), Misbehaviour::kNone);
    Server(kSettings);
    out_ = {};
  }
  int64_t Refused(StreamRefusal why) const { return shared_.streams_refused[static_cast<size_t>(why)].value(); }

  FrontLimits limits_{.max_connection_streams = 10, .max_streams = 30, .receive_timeout = std::chrono::seconds(30)};
  FrontUse shared_;
  AddressUse address_{limits_};
  Http2Guard::TimePoint now_{std::chrono::seconds(1000)};
  std::optional<Http2Guard> guard_;
  Http2Guard::Output out_;
};

}  // namespace longhaul
