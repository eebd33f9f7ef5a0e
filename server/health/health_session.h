#pragma once

#include <nghttp2/nghttp2.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/base/token_bucket.h"

namespace longhaul {

// grpc.health.v1 with one client: HTTP/2 by nghttp2, without gRPC, whose threads and queues all its servers of a
// process share. Check and Watch; SERVING or NOT_SERVING for each of `services`, any other is unknown. What a client
// may do is bounded: streams, headers, the size of a message, frames that come to nothing. It keeps no socket and no
// time; one thread.
class HealthSession {
 public:
  using TimePoint = TokenBucket::TimePoint;

  // `services` outlives this.
  HealthSession(const std::vector<std::string>& services, bool serving);
  ~HealthSession();
  HealthSession(const HealthSession&) = delete;
  HealthSession& operator=(const HealthSession&) = delete;

  // The client has sent `bytes`.
  void Receive(std::string_view bytes, TimePoint now);

  // Appends what is to be sent next, some 16 KiB at most; nothing when all has been.
  void AppendOutput(std::string& out);

  // Whether the connection is to be closed once what there is has been sent.
  bool over() const;

  // What is answered from now on; who watches is told.
  void SetServing(bool serving);

  // Whether a client waits for changes.
  bool watched() const;

  // Whether the client has been answered once.
  bool has_answered() const { return has_answered_; }

  // Pings the client.
  void Ping();

  // Sends GOAWAY.
  void End();

 private:
  struct Stream;
  struct Callbacks;

  void OnRequest(Stream& stream);
  void Answer(Stream& stream);
  void Refuse(Stream& stream, int grpc_status, const char* message);
  void EndWith(uint32_t error);
  uint8_t StatusOf(const Stream& stream) const;

  const std::vector<std::string>& services_;
  bool serving_;
  nghttp2_session* session_ = nullptr;
  std::unordered_map<int32_t, std::unique_ptr<Stream>> streams_;
  TokenBucket frames_;
  TimePoint now_;
  bool has_answered_ = false, failed_ = false;
};

}  // namespace longhaul
