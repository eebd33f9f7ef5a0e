#include "engine/event_stream.h"

#include <utility>

namespace longhaul {

EventStream::EventStream(size_t capacity, OnReady on_ready)
    : capacity_(capacity < kEventsPerStep ? kEventsPerStep : capacity), on_ready_(std::move(on_ready)) {}

std::optional<Event> EventStream::TryNext() {
  MutexLock lock(mutex_);
  if (events_.empty()) return std::nullopt;
  std::optional<Event> event = std::move(events_.front());
  events_.pop_front();
  full_since_ = Clock::now();
  // Under the lock, so that nobody is called after SetOnRoom took the function away.
  if (events_.size() + kEventsPerStep == capacity_ && on_room_) on_room_();
  return event;
}

std::optional<Event> EventStream::Next() {
  {
    MutexLock lock(mutex_);
    while (events_.empty() && !finished_) pushed_.Wait(mutex_);
  }
  return TryNext();
}

std::optional<Clock::time_point> EventStream::FullSince() const {
  MutexLock lock(mutex_);
  if (events_.size() + kEventsPerStep <= capacity_) return std::nullopt;
  return full_since_;
}

bool EventStream::PushQuietly(Event event) {
  bool was_empty = false;
  {
    MutexLock lock(mutex_);
    was_empty = events_.empty();
    finished_ = finished_ || std::holds_alternative<Finished>(event);
    if (events_.size() + kEventsPerStep == capacity_) full_since_ = Clock::now();
    events_.push_back(std::move(event));
  }
  pushed_.NotifyOne();
  return was_empty;
}

void EventStream::SetOnRoom(std::function<void()> on_room) {
  MutexLock lock(mutex_);
  on_room_ = std::move(on_room);
}

}  // namespace longhaul
