#pragma once

#include <atomic>
#include <functional>
#include <mutex>

namespace longhaul {

// Ctrl-C and SIGTERM, taken by a thread: a handler could not call into gRPC. The second one ends the process.
class Interrupt {
 public:
  // Takes the signals from here on. REQUIRES: called once, before the process has other threads, so that all inherit
  // the blocked signals; lives until the process ends.
  Interrupt();

  bool requested() const { return requested_; }

  // `action` runs on the signal's thread, at once if the signal has come already; an empty one takes it away and
  // returns when it no longer runs.
  void SetAction(std::function<void()> action);

 private:
  std::atomic<bool> requested_ = false;
  std::mutex mutex_;
  std::function<void()> action_;  // guarded by mutex_
};

}  // namespace longhaul
