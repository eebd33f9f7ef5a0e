#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

// HTTP/2 frames, RFC 9113 section 4.1.
namespace longhaul {

// The connection preface, with which a client begins.
inline constexpr std::string_view kHttp2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

enum class FrameType : uint8_t {
  kData = 0,
  kHeaders = 1,
  kPriority = 2,
  kRstStream = 3,
  kSettings = 4,
  kPushPromise = 5,
  kPing = 6,
  kGoAway = 7,
  kWindowUpdate = 8,
  kContinuation = 9,
};

enum FrameFlag : uint8_t {
  kFlagEndStream = 0x1,   // of DATA and HEADERS
  kFlagAck = 0x1,         // of SETTINGS and PING
  kFlagEndHeaders = 0x4,  // of HEADERS and CONTINUATION
  kFlagPadded = 0x8,      // of DATA and HEADERS
  kFlagPriority = 0x20,   // of HEADERS
};

struct FrameHeader {
  static constexpr size_t kBytes = 9;

  uint32_t length = 0;  // of the payload
  FrameType type = FrameType::kData;
  uint8_t flags = 0;
  uint32_t stream = 0;

  bool has(FrameFlag flag) const { return (flags & flag) != 0; }
};

// Cuts the bytes that one side of a connection sends, in pieces of any size, into frames. Holds back a frame header
// until it is whole, and nothing else. One thread.
class FrameReader {
 public:
  struct Piece {
    FrameHeader frame;
    bool begins = false, ends = false;  // of the frame
    std::string_view header;            // its 9 bytes where it begins; valid until the next call
    std::string_view payload;           // as much as there is
  };

  // Takes bytes from the front of `bytes`, which is not empty, into `piece`; false when they are part of a header only.
  bool Take(std::string_view& bytes, Piece& piece);

  // Whether the last byte that was taken ended a frame, or none was.
  bool at_frame_end() const { return header_bytes_ == 0; }

 private:
  std::array<char, FrameHeader::kBytes> header_{};
  size_t header_bytes_ = 0;
  FrameHeader frame_;
  uint32_t left_ = 0;  // of the payload
};

}  // namespace longhaul
