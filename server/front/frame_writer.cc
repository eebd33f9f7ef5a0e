#include "server/front/frame_writer.h"

#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/str_format.h"
#include "engine/base/strings.h"

namespace longhaul {
namespace {

void AppendBigEndian(uint32_t value, int bytes, std::string& out) {
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) out.push_back(static_cast<char>((value >> shift) & 0xff));
}

void AppendHeader(const FrameHeader& frame, std::string& out) {
  AppendBigEndian(frame.length, 3, out);
  out.push_back(static_cast<char>(frame.type));
  out.push_back(static_cast<char>(frame.flags));
  AppendBigEndian(frame.stream, 4, out);
}

// A string literal without Huffman coding: its length in 7 bits and further ones, RFC 7541 section 5.
void AppendString(std::string_view text, std::string& out) {
  constexpr size_t kPrefix = 0x7f;
  if (text.size() < kPrefix) {
    out.push_back(static_cast<char>(text.size()));
  } else {
    out.push_back(static_cast<char>(kPrefix));
    size_t rest = text.size() - kPrefix;
    for (; rest >= 0x80; rest >>= 7) out.push_back(static_cast<char>((rest & 0x7f) | 0x80));
    out.push_back(static_cast<char>(rest));
  }
  out.append(text);
}

// A literal header field without indexing.
void AppendField(std::string_view name, std::string_view value, std::string& out) {
  out.push_back('\0');
  AppendString(name, out);
  AppendString(value, out);
}

// As gRPC wants grpc-message: all but printable ASCII, and the percent sign, as %XX.
std::string PercentEncoded(std::string_view text) {
  std::string encoded;
  for (const char c : text) {
    if (c >= 0x20 && c <= 0x7e && c != '%') {
      encoded.push_back(c);
    } else {
      absl::StrAppendFormat(&encoded, "%%%02X", static_cast<unsigned char>(c));
    }
  }
  return encoded;
}

}  // namespace

void AppendRstStream(uint32_t stream, Http2Error error, std::string& out) {
  AppendHeader({.length = 4, .type = FrameType::kRstStream, .stream = stream}, out);
  AppendBigEndian(static_cast<uint32_t>(error), 4, out);
}

void AppendGoAway(uint32_t last_stream, Http2Error error, std::string_view text, std::string& out) {
  AppendHeader({.length = static_cast<uint32_t>(8 + text.size()), .type = FrameType::kGoAway}, out);
  AppendBigEndian(last_stream, 4, out);
  AppendBigEndian(static_cast<uint32_t>(error), 4, out);
  out.append(text);
}

void AppendEmptySettings(std::string& out) {
  AppendHeader({.type = FrameType::kSettings}, out);
}

void AppendCallError(uint32_t stream, int grpc_status, std::string_view message, std::string_view details,
                     std::string& out) {
  constexpr char kStatus200 = static_cast<char>(0x88);  // of the static table
  std::string block(1, kStatus200);
  AppendField("content-type", "application/grpc", block);
  AppendField("grpc-status", std::to_string(grpc_status), block);
  AppendField("grpc-message", PercentEncoded(message), block);
  if (!details.empty()) AppendField("grpc-status-details-bin", absl::Base64Escape(ToAbsl(details)), block);
  AppendHeader({.length = static_cast<uint32_t>(block.size()),
                .type = FrameType::kHeaders,
                .flags = kFlagEndStream | kFlagEndHeaders,
                .stream = stream},
               out);
  out.append(block);
}

}  // namespace longhaul
