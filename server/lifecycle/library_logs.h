#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

#include "engine/base/mutex.h"
#include "engine/base/token_bucket.h"

namespace longhaul {

// Bounds how often each place of a library's source is logged: ten lines at once, then one a second. Thread-safe.
class LogThrottle {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  // Whether a line of this place may be logged now: how many of it were left out before. None: it is left out too.
  std::optional<int64_t> Admit(std::string_view file, int line, TimePoint now);

 private:
  struct Place {
    TokenBucket tokens{10, 1};
    int64_t left_out = 0;
  };
  Mutex mutex_;
  // `file` lies in the library, for ever.
  std::map<std::pair<std::string_view, int>, Place> places_ ABSL_GUARDED_BY(mutex_);
};

// What libprotobuf and gRPC have to say goes through the log from now on, not to standard error, each place of their
// sources throttled: what clients send makes them speak. As warnings, because no error of theirs is the server's end,
// and at level info where GRPC_VERBOSITY asks for more than errors; that is not throttled. Abseil logs only before it
// aborts, and offers no hook for it.
void TakeOverLibraryLogs();

}  // namespace longhaul
