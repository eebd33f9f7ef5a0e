#include "tests/support/fake_time.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace longhaul {

FakeTime::TimePoint FakeTime::Now() const {
  std::function<void()> on_look;
  {
    MutexLock lock(mutex_);
    if (!on_look_) return now_;
    on_look = on_look_;
  }
  on_look();
  MutexLock lock(mutex_);
  return now_;
}

bool FakeTime::WaitUntil(CondVar& changed, Mutex& mutex, TimePoint deadline) const {
  std::list<Waiter>::iterator own;
  {
    MutexLock lock(mutex_);
    if (now_ >= deadline) return false;
    own = waiters_.insert(waiters_.end(), {&changed, &mutex, deadline});
    waiter_came_.NotifyAll();
  }
  // Advance notifies under `mutex`, which is ours until the wait begins.
  changed.Wait(mutex);
  MutexLock lock(mutex_);
  waiters_.erase(own);
  return now_ < deadline;
}

void FakeTime::Advance(std::chrono::nanoseconds by) {
  TimePoint to;
  {
    MutexLock lock(mutex_);
    to = now_ + by;
  }
  AdvanceTo(to);
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

void FakeTime::AwaitWaiter(TimePoint deadline) const {
  MutexLock lock(mutex_);
  while (std::ranges::find(waiters_, deadline, &Waiter::deadline) == waiters_.end()) waiter_came_.Wait(mutex_);
}

void FakeTime::SetOnLook(std::function<void()> on_look) {
  MutexLock lock(mutex_);
  on_look_ = std::move(on_look);
}

}  // namespace longhaul
