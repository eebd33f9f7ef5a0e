#include "server/front/http2_guard.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "engine/base/overload.h"
#include "engine/base/strings.h"
#include "server/front/frame_writer.h"
#include "server/status/status_conversion.h"

namespace longhaul {
namespace {

// The largest frame of a client's, as HTTP/2 has it by default. gRPC would take 4 MiB and more. A stream can only be
// refused where a frame ends, and gRPC keeps what comes until then.
constexpr uint32_t kMaxFrame = 16 << 10;

// An entry of SETTINGS: an identifier of two bytes and a value of four.
constexpr size_t kSettingBytes = 6, kSettingName = 2;
constexpr std::string_view kMaxFrameSize = std::string_view("\0\5", kSettingName);
constexpr std::string_view kMaxFrameBytes = std::string_view("\0\0\x40\0", kSettingBytes - kSettingName);

// Of one header block with its continuations. gRPC takes 8 KiB of metadata by default and drops what is more.
constexpr int64_t kMaxHeaderBlock = 32 << 10;

// As many calls as a connection may have can be given up at once, as when their deadline passes.
constexpr double kResetsPerSecond = 100;

// Frames that must be read or answered and carry nothing. Legitimate ones: pings with which clients estimate the
// bandwidth, and a few window updates for each frame of the server's.
constexpr double kControlBurst = 5000, kControlPerSecond = 1000, kControlPerServerFrame = 4;
constexpr double kSettingsCost = 50;           // acknowledged, and may resize the compression table
constexpr uint32_t kUnknownBytesOfCost = 256;  // of frames that must be ignored, whatever their length
constexpr double kControlPerStream = 50;       // so many are as much work as a stream

// Messages to services of gRPC's own name a service or a file. They are kept as long as a watch lasts.
constexpr std::string_view kServicesOfGrpc = "/grpc.";
constexpr int64_t kMaxMessageOfGrpc = 4 << 10;

// Of the messages after the first one of a call. Only reflection takes any, small ones.
constexpr int64_t kMaxFurther = 16 << 10;

absl::Status OutOfRoom(std::string_view what, const char* reason, const char* flag, int64_t limit) {
  constexpr double kRetryAfter = 1;  // seconds
  return OverloadError(absl::StrCat(ToAbsl(what), " fill their bound of ", limit, ", see ", flag),
                       {.reason = reason, .flag = flag, .limit = absl::StrCat(limit), .retry_after = kRetryAfter});
}

}  // namespace

Http2Guard::Http2Guard(const FrontLimits& limits, FrontUse& shared, AddressUse& address, TimePoint now)
    : limits_(limits),
      shared_(shared),
      address_(address),
      frame_since_(now),
      resets_(static_cast<double>(limits.max_connection_streams), kResetsPerSecond),
      control_frames_(kControlBurst, kControlPerSecond) {}

Http2Guard::~Http2Guard() {
  const auto streams = static_cast<int64_t>(streams_.size());
  shared_.streams -= streams;
  address_.streams -= streams;
  for (const Account* account : {&first_, &further_}) {
    account->of_all -= account->counted;
    account->of_address -= account->counted;
  }
}

Misbehaviour Http2Guard::FromClient(std::string_view bytes, TimePoint now, Output& out) {
  if (preface_bytes_ < kHttp2Preface.size()) {
    const std::string_view part = bytes.substr(0, kHttp2Preface.size() - preface_bytes_);
    if (kHttp2Preface.substr(preface_bytes_, part.size()) != part) return Misbehaviour::kNotHttp2;
    preface_bytes_ += part.size();
    Pass(part, out);
    bytes.remove_prefix(part.size());
  }
  while (!bytes.empty()) {
    if (client_frames_.at_frame_end() && !client_in_headers_)
      frame_since_ = now;  // headers are one with their continuations
    FrameReader::Piece piece;
    if (!client_frames_.Take(bytes, piece)) break;
    if (piece.begins) {
      if (const Misbehaviour why = OnClientFrame(piece.frame, now); why != Misbehaviour::kNone) return why;
    }
    if (piece.frame.type == FrameType::kHeaders || piece.frame.type == FrameType::kContinuation) {
      if (!drop_headers_) headers_.append(piece.header).append(piece.payload);
      if (piece.ends && !client_in_headers_) {
        drop_headers_ = false;
        const std::string block = std::exchange(headers_, {});
        if (const Misbehaviour why = OnHeadersEnd(piece.frame.stream, block, out); why != Misbehaviour::kNone)
          return why;
      }
    } else {
      Pass(piece.header, out);
      Pass(piece.payload, out);
    }
    if (piece.frame.type == FrameType::kData) OnData(piece.frame.stream, Unpadded(piece), now);
    Keep(piece, now);
    if (piece.ends && piece.frame.has(kFlagEndStream) &&
        (piece.frame.type == FrameType::kData || piece.frame.type == FrameType::kHeaders)) {
      if (const auto found = streams_.find(piece.frame.stream); found != streams_.end()) {
        found->second.client_done = true;
        MessageComplete(found->second);
        if (found->second.server_done) Erase(found);
      }
    }
    AtFrameEnd(out);
  }
  AtFrameEnd(out);
  return misbehaviour_;
}

void Http2Guard::Pass(std::string_view bytes, Output& out) {
  out.to_server.append(bytes);
  for (Account* account : {&first_, &further_}) account->buffers.Read(static_cast<int64_t>(bytes.size()));
}

Misbehaviour Http2Guard::OnClientFrame(const FrameHeader& frame, TimePoint now) {
  if (!client_settled_ && frame.type != FrameType::kSettings) return Misbehaviour::kNotHttp2;
  client_settled_ = true;
  if (frame.length > kMaxFrame) return Misbehaviour::kFrameSize;
  const bool is_header_block = frame.type == FrameType::kHeaders || frame.type == FrameType::kContinuation;
  if (is_header_block) {
    if ((frame.type == FrameType::kContinuation) != client_in_headers_) return Misbehaviour::kHeaders;
    header_block_bytes_ += static_cast<int64_t>(FrameHeader::kBytes) + frame.length;
    if (header_block_bytes_ > kMaxHeaderBlock) return Misbehaviour::kHeaders;
    client_in_headers_ = !frame.has(kFlagEndHeaders);
    if (!client_in_headers_) header_block_bytes_ = 0;
    return frame.type == FrameType::kHeaders ? OnHeaders(frame, now) : Misbehaviour::kNone;
  }
  if (client_in_headers_) return Misbehaviour::kHeaders;
  double cost = 1;
  switch (frame.type) {
    case FrameType::kData: {
      const auto found = streams_.find(frame.stream);
      data_left_ = frame.length;
      pad_length_due_ = frame.has(kFlagPadded);
      // No client of gRPC pads.
      const bool has_content = (frame.length > 0 && !frame.has(kFlagPadded)) || frame.has(kFlagEndStream);
      if (found != streams_.end() && !found->second.client_done && has_content) cost = 0;
      break;
    }
    case FrameType::kRstStream:
      // Of a stream that has been answered it is as good as an acknowledgement.
      if (const auto found = streams_.find(frame.stream); found != streams_.end()) {
        address_.resets.Take(1, now);
        if (!resets_.Take(1, now)) return Misbehaviour::kResets;
        Erase(found);
        cost = 0;
      }
      break;
    case FrameType::kSettings:
      acknowledged_ |= frame.has(kFlagAck);
      if (!frame.has(kFlagAck)) cost = kSettingsCost;
      break;
    case FrameType::kPriority:
    case FrameType::kPing:
    case FrameType::kWindowUpdate:
    case FrameType::kGoAway:
      break;
    default:
      cost += frame.length / kUnknownBytesOfCost;
      break;
  }
  if (cost > 0 && !control_frames_.Take(cost, now)) return Misbehaviour::kControlFrames;
  return Misbehaviour::kNone;
}

Misbehaviour Http2Guard::OnHeaders(const FrameHeader& frame, TimePoint now) {
  // gRPC says nothing to streams that are not a client's.
  if (frame.stream % 2 == 0) return Misbehaviour::kHeaders;
  // Not a new one: trailers, or what gRPC will refuse.
  if (frame.stream <= last_stream_) {
    drop_headers_ = frame.stream > last_passed_;
    return control_frames_.Take(1, now) ? Misbehaviour::kNone : Misbehaviour::kControlFrames;
  }
  last_stream_ = frame.stream;
  if (static_cast<int64_t>(streams_.size()) >= limits_.max_connection_streams) return Misbehaviour::kStreams;
  // Those of connections that are closed count until gRPC has cleared them away.
  const char* full = nullptr;
  const int64_t of_address = limits_.max_streams / address_.part;
  if (shared_.streams >= limits_.max_streams) full = "the calls that are open";
  if (address_.streams >= of_address) full = "the calls that this address has open";
  if (!address_.resets.Has(1, now)) full = "the calls that this address gave up just now";
  if (full != nullptr) {
    // Headers before that may be in the compression table.
    if (!acknowledged_ || !address_.refusals.Take(1, now)) return Misbehaviour::kStreams;
    const int64_t limit = shared_.streams >= limits_.max_streams ? limits_.max_streams : of_address;
    const absl::Status status = OutOfRoom(full, "STREAMS", "--max-streams", limit);
    if (knows_no_table_) {
      drop_headers_ = true;
      Answer(frame.stream, StreamRefusal::kStreams, status);
    } else {
      Open(frame.stream, now);
      Refuse(frame.stream, StreamRefusal::kStreams, status, now);
    }
    return control_frames_.Take(1, now) ? Misbehaviour::kNone : Misbehaviour::kControlFrames;
  }
  Open(frame.stream, now);
  return Misbehaviour::kNone;
}

Misbehaviour Http2Guard::OnHeadersEnd(uint32_t id, std::string_view frames, Output& out) {
  if (frames.empty()) return Misbehaviour::kNone;  // dropped
  const std::optional<std::string> path = paths_.Read(frames);
  if (!path.has_value()) return Misbehaviour::kHeaders;
  const auto stream = streams_.find(id);
  if (stream != streams_.end() && path->starts_with(kServicesOfGrpc)) stream->second.of_grpc = true;
  Pass(frames, out);
  return Misbehaviour::kNone;
}

void Http2Guard::Open(uint32_t id, TimePoint now) {
  knows_no_table_ = acknowledged_;
  last_passed_ = id;
  streams_[id].since = now;
  ++shared_.streams;
  ++address_.streams;
}

std::string_view Http2Guard::Unpadded(const FrameReader::Piece& piece) {
  std::string_view payload = piece.payload;
  if (pad_length_due_ && !payload.empty()) {
    const uint32_t padding = static_cast<uint8_t>(payload.front()) + 1u;
    data_left_ -= std::min(data_left_, padding);
    payload.remove_prefix(1);
    pad_length_due_ = false;
  }
  payload = payload.substr(0, data_left_);
  data_left_ -= static_cast<uint32_t>(payload.size());
  return payload;
}

void Http2Guard::OnData(uint32_t id, std::string_view payload, TimePoint now) {
  while (!payload.empty()) {
    const auto found = streams_.find(id);
    if (found == streams_.end() || found->second.client_done) return;
    Stream& stream = found->second;
    if (stream.complete) {
      stream.complete = false;
      stream.further = true;
      stream.since = now;
    }
    if (stream.prefix_bytes < stream.prefix.size()) {
      const size_t n = std::min(stream.prefix.size() - stream.prefix_bytes, payload.size());
      std::copy_n(payload.begin(), n, stream.prefix.begin() + stream.prefix_bytes);
      stream.prefix_bytes = static_cast<uint8_t>(stream.prefix_bytes + n);
      payload.remove_prefix(n);
      if (stream.further) stream.further_bytes += static_cast<int64_t>(n);
      if (stream.prefix_bytes < stream.prefix.size()) return;
      for (size_t i = 1; i < stream.prefix.size(); ++i)
        stream.message_left = stream.message_left << 8 | stream.prefix[i];
      if (stream.prefix[0] != 0) {
        // What it inflates to is not known before: a megabyte may become a gigabyte.
        return Refuse(id, StreamRefusal::kCompression, absl::UnimplementedError("compressed messages are not taken"),
                      now);
      }
      const int64_t limit = stream.of_grpc ? kMaxMessageOfGrpc : shared_.max_message_bytes.load();
      if (stream.message_left > limit) {
        const char* const name = stream.of_grpc ? "what gRPC's own services take, " : "--max-message-size, ";
        return Refuse(id, StreamRefusal::kMessageSize,
                      absl::InvalidArgumentError(
                          absl::StrCat("a message of ", stream.message_left, " bytes is larger than ", name, limit)),
                      now);
      }
    }
    const std::string_view part = payload.substr(0, stream.message_left);
    payload.remove_prefix(part.size());
    stream.message_left -= static_cast<uint32_t>(part.size());
    if (stream.further) stream.further_bytes += static_cast<int64_t>(part.size());
    if (stream.message_left == 0) MessageComplete(stream);
  }
}

void Http2Guard::Keep(const FrameReader::Piece& piece, TimePoint now) {
  auto sender = piece.frame.type == FrameType::kData ? streams_.find(piece.frame.stream) : streams_.end();
  if (sender != streams_.end() && !sender->second.keeps()) sender = streams_.end();
  if (sender != streams_.end()) {
    Stream& stream = sender->second;
    ReadBuffers& buffers = AccountOf(stream).buffers;
    buffers.Keep(static_cast<int64_t>(piece.payload.size()), stream.kept);
    if (piece.ends) buffers.KeepFrame(stream.kept);
    if (piece.ends && stream.further) stream.further_bytes += ReadBuffers::kFrameBytes;
    if (stream.further_bytes > kMaxFurther) {
      return Refuse(sender->first, StreamRefusal::kMessageSize,
                    absl::InvalidArgumentError(absl::StrCat("more than ", kMaxFurther,
                                                            " bytes after the first message of a call are not taken")),
                    now);
    }
  }
  for (Account* account : {&first_, &further_}) {
    // What has ended is given back, and makes room, at the end of the frame.
    if (Count(*account) || !account->leaving.empty()) continue;
    const auto keeps = [&](const auto& entry) {
      return &AccountOf(entry.second) == account && account->buffers.Fills(entry.second.kept);
    };
    const bool own = sender != streams_.end() && &AccountOf(sender->second) == account;
    const auto keeper = own ? sender : absl::c_find_if(streams_, keeps);
    if (keeper == streams_.end()) continue;
    const int64_t all = shared_.max_upload_bytes();
    const int64_t limit = account->of_all > all ? all : all / address_.part;
    return Refuse(keeper->first, StreamRefusal::kUploadMemory,
                  OutOfRoom(account->name, "MESSAGE_MEMORY", "--max-message-size", limit), now);
  }
}

bool Http2Guard::Count(Account& account) {
  const int64_t more = account.buffers.held() - account.counted;
  account.counted += more;
  account.of_all += more;
  account.of_address += more;
  const int64_t limit = shared_.max_upload_bytes();
  return more <= 0 || (account.of_all <= limit && account.of_address <= limit / address_.part);
}

void Http2Guard::Release(Stream& stream) {
  if (stream.kept.frames == 0 && stream.kept.buffers.empty()) return;
  AccountOf(stream).leaving.push_back(std::exchange(stream.kept, {}));
}

void Http2Guard::MessageComplete(Stream& stream) {
  // Most methods take one message. gRPC keeps what comes after it as long as the call goes on.
  if (!stream.further) Release(stream);
  stream.prefix_bytes = 0;
  stream.message_left = 0;
  stream.complete = true;
}

Misbehaviour Http2Guard::FromServer(std::string_view bytes, TimePoint now, Output& out) {
  while (!bytes.empty()) {
    FrameReader::Piece piece;
    if (!server_frames_.Take(bytes, piece)) break;
    if (piece.begins) {
      if (const Misbehaviour why = OnServerFrame(piece.frame, now); why != Misbehaviour::kNone) return why;
    }
    out.to_client.append(piece.header);
    if (piece.frame.type == FrameType::kSettings) {
      PassSettings(piece, out);
    } else {
      out.to_client.append(piece.payload);
    }
    AtFrameEnd(out);
  }
  return Misbehaviour::kNone;
}

void Http2Guard::PassSettings(const FrameReader::Piece& piece, Output& out) {
  settings_.append(piece.payload);
  if (!piece.ends) return;
  for (size_t at = 0; at + kSettingBytes <= settings_.size(); at += kSettingBytes) {
    if (settings_.compare(at, kSettingName, kMaxFrameSize) == 0)
      settings_.replace(at + kSettingName, kMaxFrameBytes.size(), kMaxFrameBytes);
  }
  out.to_client.append(settings_);
  settings_.clear();
}

Misbehaviour Http2Guard::OnServerFrame(const FrameHeader& frame, TimePoint now) {
  server_settled_ = true;
  const bool is_header_block = frame.type == FrameType::kHeaders || frame.type == FrameType::kContinuation;
  if (is_header_block) server_in_headers_ = !frame.has(kFlagEndHeaders);
  if (frame.type == FrameType::kHeaders || frame.type == FrameType::kData) control_frames_.Give(kControlPerServerFrame);
  const auto found = streams_.find(frame.stream);
  if (found == streams_.end()) return Misbehaviour::kNone;
  Stream& stream = found->second;
  if (frame.type == FrameType::kHeaders) stream.server_began = true;
  if (frame.type == FrameType::kRstStream) {
    // A client can have the server reset what it opens, by frames that are a stream's error.
    const bool given_up = !stream.server_done;
    Erase(found);
    if (!given_up) return Misbehaviour::kNone;
    address_.resets.Take(1, now);
    return resets_.Take(1, now) ? Misbehaviour::kNone : Misbehaviour::kResets;
  }
  if ((frame.type == FrameType::kHeaders || frame.type == FrameType::kData) && frame.has(kFlagEndStream)) {
    stream.server_done = true;
    if (stream.client_done) Erase(found);
  }
  return Misbehaviour::kNone;
}

Misbehaviour Http2Guard::Check(TimePoint now, Output& out) {
  const bool in_frame = !client_frames_.at_frame_end() || client_in_headers_ || !client_settled_;
  if (in_frame && now - frame_since_ > limits_.receive_timeout) return Misbehaviour::kStalled;
  std::vector<uint32_t> late;
  for (const auto& [id, stream] : streams_) {
    if (!stream.complete && now - stream.since > limits_.receive_timeout) late.push_back(id);
  }
  for (const uint32_t id : late) {
    Refuse(id, StreamRefusal::kReceiveTimeout,
           absl::AbortedError(absl::StrCat("the message was not complete after --receive-timeout, ",
                                           limits_.receive_timeout.count(), " ms")),
           now);
  }
  AtFrameEnd(out);
  return misbehaviour_;
}

void Http2Guard::Excuse(std::chrono::nanoseconds time) {
  frame_since_ += time;
  for (auto& entry : streams_) entry.second.since += time;
}

std::string Http2Guard::GoAway(Misbehaviour why) const {
  std::string frame;
  AppendGoAway(last_passed_, Http2Error::kEnhanceYourCalm, kMisbehaviourNames[static_cast<size_t>(why)], frame);
  return frame;
}

void Http2Guard::Erase(Streams::iterator stream) {
  Release(stream->second);
  --shared_.streams;
  --address_.streams;
  streams_.erase(stream);
}

void Http2Guard::Answer(uint32_t id, StreamRefusal why, const absl::Status& status) {
  shared_.streams_refused[static_cast<size_t>(why)].Add();
  const grpc::Status error = ToGrpc(status);
  AppendCallError(id, error.error_code(), error.error_message(), error.error_details(), waiting_.to_client);
  AppendRstStream(id, Http2Error::kNoError, waiting_.to_client);
}

void Http2Guard::Refuse(uint32_t id, StreamRefusal why, const absl::Status& status, TimePoint now) {
  // gRPC has as much to clear away as after a reset of the client's.
  address_.resets.Take(1, now);
  if (!resets_.Take(1, now)) misbehaviour_ = Misbehaviour::kResets;
  const auto found = streams_.find(id);
  // A call that the server has begun to answer cannot be given another status.
  if (found->second.server_began) {
    shared_.streams_refused[static_cast<size_t>(why)].Add();
    AppendRstStream(id, Http2Error::kEnhanceYourCalm, waiting_.to_client);
  } else {
    Answer(id, why, status);
  }
  AppendRstStream(id, Http2Error::kCancel, waiting_.to_server);
  Erase(found);
}

int64_t Http2Guard::work_left() const {
  constexpr double kConnection = 1;
  return static_cast<int64_t>(kConnection + static_cast<double>(streams_.size()) + resets_.missing() +
                              control_frames_.missing() / kControlPerStream);
}

void Http2Guard::AtFrameEnd(Output& out) {
  if (!waiting_.to_client.empty() && server_settled_ && server_frames_.at_frame_end() && !server_in_headers_) {
    out.to_client.append(waiting_.to_client);
    waiting_.to_client.clear();
  }
  if (!client_frames_.at_frame_end() || client_in_headers_) return;
  out.to_server.append(waiting_.to_server);
  waiting_.to_server.clear();
  for (Account* account : {&first_, &further_}) {
    if (account->leaving.empty()) continue;
    for (ReadBuffers::Kept& kept : account->leaving) account->buffers.Release(kept);
    account->leaving.clear();
    Count(*account);
  }
}

}  // namespace longhaul
