#include "tests/support/fake_time.h"

#include <algorithm>

namespace longhaul {

FakeTime::TimePoint FakeTime::Now() const {
  MutexLock lock(mutex_);
  return now_;
}

bool FakeTime::WaitUntil(CondVar& changed, Mutex& mutex, TimePoint deadline) const {
  {
    MutexLock lock(mutex_);
    if (now_ >= deadline) return false;
    waiters_.push_back({&changed, &mutex, deadline});
  }
  // Advance notifies under `mutex`, which is ours until the wait begins.
  changed.Wait(mutex);
  MutexLock lock(mutex_);
  const auto own = std::ranges::find(waiters_, &changed, &Waiter::changed);
  if (own != waiters_.end()) waiters_.erase(own);
  return now_ < deadline;
}

void FakeTime::Advance(std::chrono::nanoseconds by) {
  AdvanceTo(Now() + by);
}

void FakeTime::AdvanceTo(TimePoint to) {
  std::vector<Waiter> due;
  {
    MutexLock lock(mutex_);
    now_ = std::max(now_, to);
    for (const Waiter& waiter : waiters_) {
      if (waiter.deadline <= now_) due.push_back(waiter);
    }
  }
  for (const Waiter& waiter : due) {
    MutexLock lock(*waiter.mutex);
    waiter.changed->NotifyAll();
  }
}

}  // namespace longhaul
