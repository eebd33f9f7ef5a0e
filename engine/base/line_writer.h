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

// Writes lines to a descriptor that may be slow or blocked, without making the caller wait: lines pass through a
// bounded queue to a thread that is started with the first line. Once the queue is full, lines are dropped until it is
// empty again. Where no thread can be started, a line is written at once if that does not block, else dropped.
// Thread-safe.
class LineWriter {
 public:
  // Called on the writer's thread once the queue is empty again, with how many lines were dropped since the last call.
  // It may call Write.
  using ToldDropped = std::function<void(int64_t lines)>;

  // `descriptor` is not owned. At most `max_bytes` of lines wait; each line ends with a line feed.
  LineWriter(int descriptor, size_t max_bytes, ToldDropped told_dropped);
  // Lines that still wait are not written: see Flush. Waits for the write that is under way, a page at most.
  ~LineWriter();

  // Queues a line. Does not block.
  void Write(std::string line);

  // Waits until all lines are written or dropped; false when that took longer than `patience`. Takes no lock, and may
  // be called by a signal handler.
  bool Flush(std::chrono::milliseconds patience) const;

  // Lines that were dropped so far.
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
