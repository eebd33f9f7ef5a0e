#pragma once

#include <cstddef>
#include <functional>

namespace longhaul {

// Says whether long work is no longer wanted; empty: it always is. Any thread.
using StopCondition = std::function<bool()>;

// Asks a condition every 16 KiB of work, because asking may cost more than what lies between.
class StopPoll {
 public:
  // `condition` is not owned and outlives it.
  explicit StopPoll(const StopCondition& condition) : condition_(condition) {}

  // Counts bytes that were worked on. Whether to stop; once true it stays so.
  bool Stopped(size_t bytes) {
    done_ += bytes;
    if (done_ >= kInterval) {
      done_ = 0;
      stopped_ = stopped_ || (condition_ && condition_());
    }
    return stopped_;
  }

 private:
  static constexpr size_t kInterval = 16 << 10;
  const StopCondition& condition_;
  size_t done_ = 0;
  bool stopped_ = false;
};

}  // namespace longhaul
