#include "client/commands/line_reader.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <utility>

namespace longhaul {

bool LineReader::TakeInterrupt() const {
  uint64_t count = 0;
  return read(interrupts_, &count, sizeof count) > 0;
}

LineReader::Event LineReader::Read(const char* prompt, std::string& line) {
  if (TakeInterrupt()) unread_.clear();
  std::fputs(prompt, stderr);
  for (;;) {
    if (const size_t end = unread_.find('\n'); end != std::string::npos) {
      line = unread_.substr(0, end);
      unread_.erase(0, end + 1);
      return Event::kLine;
    }
    pollfd ready[] = {{input_, POLLIN, 0}, {interrupts_, POLLIN, 0}};
    if (poll(ready, 2, -1) < 0 && errno != EINTR) return Event::kEnd;
    if (TakeInterrupt()) {
      unread_.clear();
      return Event::kInterrupt;
    }
    if (ready[0].revents == 0) continue;
    char part[1 << 16];
    const ssize_t size = read(input_, part, sizeof part);
    if (size < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (size > 0) {
      unread_.append(part, static_cast<size_t>(size));
      continue;
    }
    line = std::exchange(unread_, "");
    return line.empty() ? Event::kEnd : Event::kLine;
  }
}

}  // namespace longhaul
