#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <thread>

#include "engine/base/counter.h"
#include "engine/base/mutex.h"

namespace longhaul {

// Writes lines to a descriptor that may take them slowly, or never: whoever hands one over does not wait. The lines go
// through a bounded queue, and a thread writes them, which is there from the first line on. Where the queue is full, all
// lines are dropped until what waits is written; where the system has no thread to give, a line is written at once or
// dropped. Thread-safe.
class LineWriter {
 public:
  // Told, once writing works again, how many lines were dropped since it was told last. By the thread; it may write.
  using ToldDropped = std::function<void(int64_t lines)>;

  // `descriptor` is not owned. At most `max_bytes` wait, of lines that end with a line feed.
  LineWriter(int descriptor, size_t max_bytes, ToldDropped told_dropped);
  // What still waits is not written: see Flush. Waits for a write of at most a page that was begun.
  ~LineWriter();

  void Write(std::string line);

  // Waits until all lines are written or dropped; false when that took longer than `patience`. Takes no lock, and may
  // be called by a signal handler.
  bool Flush(std::chrono::milliseconds patience) const;

  int64_t dropped() const { return dropped_.value(); }

 private:
  void Run();
  bool WriteWhole(std::string_view line, bool wait) const;
  bool StartThread() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Drop(int64_t lines) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const int descriptor_;
  const size_t max_bytes_;
  const ToldDropped told_dropped_;
  std::atomic<int64_t> unfinished_{0};  // lines
  std::atomic<bool> stop_{false};
  Counter dropped_;
  Mutex mutex_;
  CondVar not_empty_;
  std::deque<std::string> lines_ ABSL_GUARDED_BY(mutex_);
  size_t waiting_bytes_ ABSL_GUARDED_BY(mutex_) = 0;  // of lines_ and of what is being written
  bool full_ ABSL_GUARDED_BY(mutex_) = false;         // until nothing waits
  int64_t untold_ ABSL_GUARDED_BY(mutex_) = 0;        // dropped lines
  std::thread thread_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace longhaul
