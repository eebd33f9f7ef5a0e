#pragma once

#include <cstddef>
#include <functional>

namespace longhaul {

// Returns true once long work should stop; called on any thread. An empty condition means that it never stops.
using StopCondition = std::function<bool()>;

// Asks a condition once for 16 KiB of work, because asking may cost more than a small piece of it. One thread.
class StopPoll {
 public:
  // `condition` is not owned and outlives it.
  explicit StopPoll(const StopCondition& condition) : condition_(condition) {}

  // Adds `bytes` of work; returns whether to stop. Once true it stays true.
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
