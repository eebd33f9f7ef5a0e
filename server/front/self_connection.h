#pragma once

#include <sys/socket.h>

#include <chrono>
#include <cstdint>
#include <thread>

#include "absl/status/status.h"
#include "engine/base/mutex.h"

namespace longhaul {

// Connects as a client does and waits for the first frame of an HTTP/2 server: proof that connections are taken and
// served. UNAVAILABLE with what was waited for in vain.
absl::Status ConnectToServer(const sockaddr_storage& address, std::chrono::milliseconds timeout);

// Connects to the server's own port at intervals, on a thread of its own, so that /healthz reports whether clients are
// served and not merely that the thread which answers it runs. Thread-safe.
class SelfConnection {
 public:
  // `address`: where the server listens; any address of the machine becomes the loopback one. One failure is forgiven,
  // the machine may have been busy.
  SelfConnection(const sockaddr_storage& address, std::chrono::milliseconds interval,
                 std::chrono::milliseconds timeout);
  ~SelfConnection() { Stop(); }
  SelfConnection(const SelfConnection&) = delete;
  SelfConnection& operator=(const SelfConnection&) = delete;

  // Stops connecting. One thread at a time.
  void Stop();

  // OK, or why the last two connections failed.
  absl::Status status() const;

 private:
  void Run();

  sockaddr_storage address_;
  const std::chrono::milliseconds interval_, timeout_;
  mutable Mutex mutex_;
  CondVar stopped_;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status last_ ABSL_GUARDED_BY(mutex_), before_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace longhaul
