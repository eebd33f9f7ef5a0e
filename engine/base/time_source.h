#pragma once

#include <chrono>

#include "engine/base/mutex.h"

namespace longhaul {

// The steady clock that a component reads and waits by. Passed in, so that tests can use their own. Thread-safe.
class TimeSource {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  virtual ~TimeSource() = default;
  virtual TimePoint Now() const = 0;

  // As CondVar::WaitUntil, by this clock. REQUIRES: the calling thread holds `mutex`.
  virtual bool WaitUntil(CondVar& changed, Mutex& mutex, TimePoint deadline) const = 0;
};

// The machine's steady clock. Lives as long as the process.
inline const TimeSource& SteadyTime() {
  class Steady final : public TimeSource {
   public:
    TimePoint Now() const override { return std::chrono::steady_clock::now(); }
    bool WaitUntil(CondVar& changed, Mutex& mutex, TimePoint deadline) const override {
      return changed.WaitUntil(mutex, deadline);
    }
  };
  static const Steady steady;
  return steady;
}

}  // namespace longhaul
