#pragma once

#include <chrono>
#include <functional>
#include <list>

#include "engine/base/time_source.h"

namespace longhaul {

// A clock that stands still until it is told otherwise. Thread-safe.
class FakeTime final : public TimeSource {
 public:
  TimePoint Now() const override;
  // Who waits is woken by the condition or when the clock passes the deadline.
  bool WaitUntil(CondVar& changed, Mutex& mutex, TimePoint deadline) const override;

  void Advance(std::chrono::nanoseconds by);
  // Never back.
  void AdvanceTo(TimePoint to);

  // Waits until a thread waits by this clock until exactly `deadline`.
  void AwaitWaiter(TimePoint deadline) const;

  // Called by each Now on its thread, before it looks; empty: nothing.
  void SetOnLook(std::function<void()> on_look);

 private:
  struct Waiter {
    CondVar* changed;
    Mutex* mutex;
    TimePoint deadline;
  };

  mutable Mutex mutex_;  // taken after a waiter's own, never before
  TimePoint now_ ABSL_GUARDED_BY(mutex_){std::chrono::hours(1)};
  std::function<void()> on_look_ ABSL_GUARDED_BY(mutex_);
  mutable std::list<Waiter> waiters_ ABSL_GUARDED_BY(mutex_);
  mutable CondVar waiter_came_;
};

}  // namespace longhaul
