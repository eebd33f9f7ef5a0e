#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <thread>

#include "engine/base/mutex.h"

namespace longhaul {

// Ends calls whose clients do not take what was written to them, and calls that occupy a scarce resource for too long:
// gRPC would keep them for as long as the connection stands. A connection that takes nothing at all is left to the
// keepalive. Thread-safe.
class StallWatch {
 public:
  // Watches a call until it is destroyed, which must be before the watch is.
  class Watched {
   public:
    Watched() = default;
    Watched(Watched&& other) noexcept;
    Watched& operator=(Watched&& other) noexcept;
    ~Watched() { Release(); }

    void Release();

   private:
    friend class StallWatch;
    StallWatch* watch_ = nullptr;
    uint64_t number_ = 0;
  };

  // `timeout` 0: never.
  explicit StallWatch(std::chrono::milliseconds timeout);
  ~StallWatch();
  StallWatch(const StallWatch&) = delete;
  StallWatch& operator=(const StallWatch&) = delete;

  // Ends the call with ABORTED unless what this returns is destroyed within the timeout from now. REQUIRES: the call is
  // not done.
  Watched Watch(grpc::ServerContextBase& context);

 private:
  using Clock = std::chrono::steady_clock;
  struct Call {
    grpc_call* call;  // a reference
    Clock::time_point deadline;
  };

  void Run();

  const std::chrono::milliseconds timeout_;
  Mutex mutex_;
  CondVar stopped_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  uint64_t next_number_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<uint64_t, Call> calls_ ABSL_GUARDED_BY(mutex_);  // by number; in the order of their deadlines too
  std::thread thread_;
};

}  // namespace longhaul
