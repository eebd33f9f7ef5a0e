#include "server/front/read_buffers.h"

#include <algorithm>

namespace longhaul {

void ReadBuffers::Read(int64_t bytes) {
  if (!kept_.empty()) {
    if (const auto current = kept_.find(end_ / kBytes); current != kept_.end()) {
      const int64_t more = std::min(bytes, kBytes - end_ % kBytes);
      current->second.bytes += more;
      held_ += more;
    }
  }
  end_ += bytes;
}

void ReadBuffers::Keep(int64_t bytes, Kept& kept) {
  if (bytes == 0) return;
  for (int64_t number = (end_ - bytes) / kBytes; number <= (end_ - 1) / kBytes; ++number) {
    if (!kept.buffers.empty() && kept.buffers.back() >= number) continue;
    Buffer& buffer = kept_[number];  // first, so that Release finds it whatever throws
    kept.buffers.push_back(number);
    if (buffer.users++ > 0) continue;
    buffer.bytes = std::min(kBytes, end_ - number * kBytes);
    held_ += buffer.bytes;
  }
}

void ReadBuffers::KeepFrame(Kept& kept) {
  ++kept.frames;
  held_ += kFrameBytes;
}

void ReadBuffers::Release(Kept& kept) {
  for (const int64_t number : kept.buffers) {
    const auto buffer = kept_.find(number);
    if (--buffer->second.users > 0) continue;
    held_ -= buffer->second.bytes;
    kept_.erase(buffer);
  }
  held_ -= kept.frames * kFrameBytes;
  kept = {};
}

}  // namespace longhaul
