#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>

#include "engine/base/counter.h"
#include "engine/base/token_bucket.h"

namespace longhaul {

// Why a connection was not taken.
enum class ConnectionRefusal { kMaxConnections, kMaxConnectionsPerAddress, kNoDescriptor };
inline constexpr std::array kConnectionRefusalNames = {"max_connections", "max_connections_per_address",
                                                       "no_descriptor"};

// Why a connection is closed.
enum class Misbehaviour { kNone, kNotHttp2, kStalled, kFrameSize, kHeaders, kStreams, kResets, kControlFrames };
inline constexpr std::array kMisbehaviourNames = {"none",    "not_http2", "stalled", "frame_size",
                                                  "headers", "streams",   "resets",  "control_frames"};

// Why a stream is ended before its call reaches the server.
enum class StreamRefusal { kStreams, kMessageSize, kUploadMemory, kCompression, kReceiveTimeout };
inline constexpr std::array kStreamRefusalNames = {"streams", "message_size", "upload_memory", "compression",
                                                   "receive_timeout"};

// What clients may make the server hold before a request is whole, or without ever making one.
struct FrontLimits {
  int64_t max_connections = 0;              // at a time; 0: what the limit of descriptors allows, at most 4096
  int64_t max_connections_per_address = 0;  // 0: a quarter of max_connections
  int64_t max_connection_streams = 1024;    // that one connection may have open
  int64_t max_streams = 4096;               // open on all connections; one address may have half of them
  // A message that has begun, a connection's first frame and a frame must be complete after so long.
  std::chrono::milliseconds receive_timeout{30000};
  // A client that takes nothing of what waits for it for so long is dropped; 0: never.
  std::chrono::milliseconds send_timeout{60000};
};

// What the connections of one address hold of the bounds that are shared. The front's thread.
struct AddressUse {
  // One address may have half of the streams and of the memory that all may have together. Clients of a unix socket are
  // indistinguishable: they are `everybody`, and may have all.
  explicit AddressUse(const FrontLimits& limits, bool everybody = false)
      : part(everybody ? 1 : 2),
        resets(static_cast<double>(limits.max_streams) / static_cast<double>(part), kResetsPerSecond),
        refusals(static_cast<double>(limits.max_streams) / static_cast<double>(part), kRefusalsPerSecond) {}

  const int64_t part;
  int64_t connections = 0, streams = 0;
  int64_t ending = 0, upload_bytes = 0, further_bytes = 0;  // as in FrontUse
  TokenBucket resets;    // streams that were opened and given up; gRPC needs a while to clean each up
  TokenBucket refusals;  // streams refused for want of room: nine bytes of a client cost hundreds of the server

  static constexpr double kResetsPerSecond = 400, kRefusalsPerSecond = 400;
};
// What all connections hold, and what has been counted of them. The front's thread writes, any thread may read.
struct FrontUse {
  std::atomic<int64_t> max_message_bytes{0};
  std::atomic<int64_t> connections{0}, streams{0};
  // Of closed connections: streams that gRPC has not cleaned up yet, and other work counted in streams.
  std::atomic<int64_t> ending{0};
  // What gRPC keeps of first messages that are not complete, and of those after the first of a call, see ReadBuffers.
  std::atomic<int64_t> upload_bytes{0}, further_bytes{0};

  Counter accepted;
  std::array<Counter, kConnectionRefusalNames.size()> refused;
  std::array<Counter, kMisbehaviourNames.size()> misbehaved;
  std::array<Counter, kStreamRefusalNames.size()> streams_refused;

  // The bound of each of the two: four of the largest messages. Counted apart, since only the first has a time limit.
  int64_t max_upload_bytes() const { return kUploads * max_message_bytes; }
  static constexpr int64_t kUploads = 4;
};

}  // namespace longhaul
