#pragma once

#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"

namespace longhaul {

// What gRPC holds of the bytes of a connection. It reads into buffers that many frames share, and a buffer lives as
// long as one frame in it belongs to a message that nobody has taken: 24 bytes of an upload can keep all that came
// around them. One thread.
class ReadBuffers {
 public:
  // The largest that gRPC reads into. Where its buffers begin is not known: here they follow one another from the
  // first byte, so that it may hold twice as much as is counted.
  static constexpr int64_t kBytes = 64 << 10;
  // What it holds for a frame beside its bytes, roughly.
  static constexpr int64_t kFrameBytes = 64;

  // What the messages of one stream keep. Given back with Release before it ends.
  struct Kept {
    std::vector<int64_t> buffers;  // their numbers, ascending
    int64_t frames = 0;
  };

  // The next bytes of the connection.
  void Read(int64_t bytes);
  // The last `bytes` of them, which were read at once, are `kept`'s.
  void Keep(int64_t bytes, Kept& kept);
  // The frame to which they belong has ended.
  void KeepFrame(Kept& kept);
  void Release(Kept& kept);

  // Whether what is read next goes to a buffer that `kept` keeps already.
  bool Fills(const Kept& kept) const { return !kept.buffers.empty() && kept.buffers.back() == end_ / kBytes; }

  // Bytes of all buffers that are kept, and what frames cost beside.
  int64_t held() const { return held_; }

 private:
  struct Buffer {
    int64_t users = 0, bytes = 0;
  };

  int64_t end_ = 0;  // of what has been read
  int64_t held_ = 0;
  absl::flat_hash_map<int64_t, Buffer> kept_;  // by number
};

}  // namespace longhaul
