#include "server/health/health_session.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include <algorithm>
#include <array>
#include <new>
#include <optional>

namespace longhaul {
namespace {

using google::protobuf::internal::WireFormatLite;

constexpr uint32_t kMaxStreams = 32;
constexpr size_t kMaxHeaderBytes = 8 << 10;  // of a request
constexpr size_t kMaxMessageBytes = 1 << 10;
constexpr size_t kOutputBytes = 16 << 10;
// A health check takes five frames.
constexpr double kFrameBurst = 1000, kFramesPerSecond = 500;

// grpc.health.v1.HealthCheckResponse.ServingStatus
enum ServingStatus : uint8_t { kServing = 1, kNotServing = 2, kServiceUnknown = 3 };

enum GrpcStatus { kOk = 0, kInvalidArgument = 3, kNotFound = 5, kResourceExhausted = 8, kUnimplemented = 12 };

// The service of a HealthCheckRequest; none where it is no such message.
std::optional<std::string> ServiceOf(std::string_view message) {
  google::protobuf::io::CodedInputStream input(reinterpret_cast<const uint8_t*>(message.data()),
                                               static_cast<int>(message.size()));
  std::string service;
  while (const uint32_t tag = input.ReadTag()) {
    if (tag == WireFormatLite::MakeTag(1, WireFormatLite::WIRETYPE_LENGTH_DELIMITED)) {
      uint32_t length = 0;
      if (!input.ReadVarint32(&length) || length > message.size()) return std::nullopt;
      if (!input.ReadString(&service, static_cast<int>(length))) return std::nullopt;
    } else if (!WireFormatLite::SkipField(&input, tag)) {
      return std::nullopt;
    }
  }
  if (!input.ConsumedEntireMessage()) return std::nullopt;
  return service;
}

nghttp2_nv Header(std::string_view name, std::string_view value) {
  // nghttp2 copies both.
  return {.name = reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())),
          .value = reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())),
          .namelen = name.size(),
          .valuelen = value.size(),
          .flags = NGHTTP2_NV_FLAG_NONE};
}

std::string_view View(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

}  // namespace

struct HealthSession::Stream {
  int32_t id = 0;
  std::string path, content_type;
  size_t header_bytes = 0;
  std::string received;  // a message and what gRPC puts before it
  bool answered = false, watch = false;
  std::string service;
  uint8_t told = 0;    // the status that the client knows
  std::string unsent;  // of the message that tells it
};

// What nghttp2 calls. No exception passes through it: without memory the connection ends.
struct HealthSession::Callbacks {
  static HealthSession& Of(void* user) { return *static_cast<HealthSession*>(user); }
  template <typename Action>
  static int Try(Action action) {
    try {
      return action();
    } catch (const std::bad_alloc&) {
      return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
  }
  static Stream* StreamOf(nghttp2_session* session, int32_t id) {
    return static_cast<Stream*>(nghttp2_session_get_stream_user_data(session, id));
  }

  static int OnBeginFrame(nghttp2_session*, const nghttp2_frame_hd*, void* user) {
    HealthSession& self = Of(user);
    if (!self.frames_.Take(1, self.now_)) self.EndWith(NGHTTP2_ENHANCE_YOUR_CALM);
    return 0;
  }

  static int OnBeginHeaders(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
    return Try([&]() -> int {
      if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
      const int32_t id = frame->hd.stream_id;
      Stream& stream = *(Of(user).streams_[id] = std::make_unique<Stream>());
      stream.id = id;
      return nghttp2_session_set_stream_user_data(session, id, &stream);
    });
  }

  static int OnHeader(nghttp2_session* session, const nghttp2_frame* frame, const uint8_t* name, size_t name_size,
                      const uint8_t* value, size_t value_size, uint8_t, void*) {
    return Try([&]() -> int {
      Stream* const stream = StreamOf(session, frame->hd.stream_id);
      if (stream == nullptr) return 0;
      stream->header_bytes += name_size + value_size;
      if (stream->header_bytes > kMaxHeaderBytes) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;  // resets the stream
      if (View(name, name_size) == ":path") stream->path = View(value, value_size);
      if (View(name, name_size) == "content-type") stream->content_type = View(value, value_size);
      return 0;
    });
  }

  static int OnData(nghttp2_session* session, uint8_t, int32_t id, const uint8_t* data, size_t size, void* user) {
    return Try([&]() -> int {
      Stream* const stream = StreamOf(session, id);
      if (stream == nullptr || stream->answered) return 0;
      stream->received.append(View(data, std::min(size, kMaxMessageBytes)));
      Of(user).OnRequest(*stream);
      return 0;
    });
  }

  static int OnFrame(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
    return Try([&]() -> int {
      if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) return 0;
      Stream* const stream = StreamOf(session, frame->hd.stream_id);
      if (stream == nullptr || stream->answered) return 0;
      HealthSession& self = Of(user);
      if (frame->hd.type == NGHTTP2_HEADERS) self.OnRequest(*stream);
      if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0 && !stream->answered) {
        self.Refuse(*stream, kInvalidArgument, "the stream ended before its message");
      }
      return 0;
    });
  }

  // After an answer that ends the call the client need not finish its own side.
  static int OnSent(nghttp2_session* session, const nghttp2_frame* frame, void*) {
    if (frame->hd.type != NGHTTP2_HEADERS || (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) return 0;
    if (nghttp2_session_get_stream_remote_close(session, frame->hd.stream_id) != 0) return 0;
    return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_NO_ERROR);
  }

  static int OnClose(nghttp2_session*, int32_t id, uint32_t, void* user) {
    Of(user).streams_.erase(id);
    return 0;
  }

  static ssize_t ReadAnswer(nghttp2_session* session, int32_t id, uint8_t* buffer, size_t size, uint32_t* flags,
                            nghttp2_data_source* source, void* user) {
    const HealthSession& self = Of(user);
    Stream& stream = *static_cast<Stream*>(source->ptr);
    if (stream.unsent.empty() && stream.told != self.StatusOf(stream)) {
      stream.told = self.StatusOf(stream);
      stream.unsent = {0, 0, 0, 0, 2, 8, static_cast<char>(stream.told)};  // so short that no memory is needed
    }
    if (stream.unsent.empty()) return NGHTTP2_ERR_DEFERRED;
    const size_t n = stream.unsent.copy(reinterpret_cast<char*>(buffer), size);
    stream.unsent.erase(0, n);
    if (stream.unsent.empty() && !stream.watch) {
      *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
      const nghttp2_nv trailer = Header("grpc-status", "0");
      if (nghttp2_submit_trailer(session, id, &trailer, 1) != 0) return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    return static_cast<ssize_t>(n);
  }
};

HealthSession::HealthSession(const std::vector<std::string>& services, bool serving)
    : services_(services), serving_(serving), frames_(kFrameBurst, kFramesPerSecond) {
  nghttp2_session_callbacks* callbacks = nullptr;
  if (nghttp2_session_callbacks_new(&callbacks) != 0) throw std::bad_alloc();
  const std::unique_ptr<nghttp2_session_callbacks, decltype(&nghttp2_session_callbacks_del)> owned(
      callbacks, nghttp2_session_callbacks_del);
  nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, Callbacks::OnBeginFrame);
  nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, Callbacks::OnBeginHeaders);
  nghttp2_session_callbacks_set_on_header_callback(callbacks, Callbacks::OnHeader);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, Callbacks::OnData);
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, Callbacks::OnFrame);
  nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, Callbacks::OnSent);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, Callbacks::OnClose);
  if (nghttp2_session_server_new(&session_, callbacks, this) != 0) throw std::bad_alloc();
  const std::array settings = {
      nghttp2_settings_entry{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, kMaxStreams},
      nghttp2_settings_entry{NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, kMaxHeaderBytes},
  };
  failed_ = nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings.data(), settings.size()) != 0;
}

HealthSession::~HealthSession() {
  nghttp2_session_del(session_);
}

void HealthSession::Receive(std::string_view bytes, TimePoint now) {
  now_ = now;
  const ssize_t n = nghttp2_session_mem_recv(session_, reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  if (n < 0) failed_ = true;  // no HTTP/2, or no memory
}

void HealthSession::AppendOutput(std::string& out) {
  while (out.size() < kOutputBytes && !failed_) {
    const uint8_t* data = nullptr;
    const ssize_t n = nghttp2_session_mem_send(session_, &data);
    if (n < 0) failed_ = true;
    if (n <= 0) return;
    out.append(View(data, static_cast<size_t>(n)));
  }
}

bool HealthSession::over() const {
  return failed_ || (nghttp2_session_want_read(session_) == 0 && nghttp2_session_want_write(session_) == 0);
}

void HealthSession::SetServing(bool serving) {
  serving_ = serving;
  for (const auto& entry : streams_) {
    if (entry.second->watch) nghttp2_session_resume_data(session_, entry.first);
  }
}

bool HealthSession::watched() const {
  return std::any_of(streams_.begin(), streams_.end(), [](const auto& entry) { return entry.second->watch; });
}

void HealthSession::Ping() {
  nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, nullptr);
}

void HealthSession::End() {
  EndWith(NGHTTP2_NO_ERROR);
}

void HealthSession::EndWith(uint32_t error) {
  if (nghttp2_session_terminate_session(session_, error) != 0) failed_ = true;
}

uint8_t HealthSession::StatusOf(const Stream& stream) const {
  if (std::find(services_.begin(), services_.end(), stream.service) == services_.end()) return kServiceUnknown;
  return serving_ ? kServing : kNotServing;
}

// To be called whenever there is more of it; answers when it is whole or wrong.
void HealthSession::OnRequest(Stream& stream) {
  constexpr size_t kPrefix = 5;  // a flag and the length
  if (!stream.content_type.starts_with("application/grpc")) {
    return Refuse(stream, kInvalidArgument, "the content type is not gRPC's");
  }
  const bool watch = stream.path == "/grpc.health.v1.Health/Watch";
  if (!watch && stream.path != "/grpc.health.v1.Health/Check") {
    return Refuse(stream, kUnimplemented, "only grpc.health.v1.Health is here, Check and Watch");
  }
  if (stream.received.size() < kPrefix) return;
  uint32_t size = 0;
  for (size_t i = 1; i < kPrefix; ++i) size = size << 8 | static_cast<uint8_t>(stream.received[i]);
  if (stream.received[0] != 0) return Refuse(stream, kUnimplemented, "compressed messages are not taken");
  if (size > kMaxMessageBytes) return Refuse(stream, kResourceExhausted, "the message is too large");
  if (stream.received.size() < kPrefix + size) return;
  const std::optional<std::string> service = ServiceOf(std::string_view(stream.received).substr(kPrefix, size));
  if (!service.has_value()) return Refuse(stream, kInvalidArgument, "the message is no HealthCheckRequest");
  stream.service = *service;
  if (!watch && StatusOf(stream) == kServiceUnknown) return Refuse(stream, kNotFound, "no such service");
  stream.watch = watch;
  Answer(stream);
}

void HealthSession::Answer(Stream& stream) {
  stream.answered = has_answered_ = true;
  std::string().swap(stream.received);
  const std::array headers = {Header(":status", "200"), Header("content-type", "application/grpc")};
  nghttp2_data_provider provider{};
  provider.source.ptr = &stream;
  provider.read_callback = Callbacks::ReadAnswer;
  if (nghttp2_submit_response(session_, stream.id, headers.data(), headers.size(), &provider) != 0) failed_ = true;
}

void HealthSession::Refuse(Stream& stream, int grpc_status, const char* message) {
  stream.answered = true;
  std::string().swap(stream.received);
  const std::string code = std::to_string(grpc_status);
  const std::array headers = {Header(":status", "200"), Header("content-type", "application/grpc"),
                              Header("grpc-status", code), Header("grpc-message", message)};
  if (nghttp2_submit_response(session_, stream.id, headers.data(), headers.size(), nullptr) != 0) failed_ = true;
}

}  // namespace longhaul
