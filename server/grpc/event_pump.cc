#include "server/grpc/event_pump.h"

#include <utility>

#include "engine/base/start_thread.h"

namespace longhaul {

EventPump::EventPump() : thread_(StartThread("event pump", [this] { Run(); })) {}

void EventPump::Stop() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
  }
  noted_.NotifyOne();
  if (thread_.joinable()) thread_.join();
}

void EventPump::Note(const std::weak_ptr<EventWriter>& writer, bool more) {
  if (std::shared_ptr<EventWriter> noted = writer.lock(); noted != nullptr && !noted->noted_.exchange(true)) {
    EventWriter* const last = noted.get();
    MutexLock lock(mutex_);
    if (stopping_) return;
    (last_ == nullptr ? first_ : last_->after_) = std::move(noted);
    last_ = last;
  }
  if (!more) noted_.NotifyOne();  // a system call only where the thread sleeps
}

void EventPump::Run() {
  for (bool stopping = false; !stopping;) {
    std::shared_ptr<EventWriter> next;
    {
      MutexLock lock(mutex_);
      while (first_ == nullptr && !stopping_) noted_.Wait(mutex_);
      stopping = stopping_;
      next = std::exchange(first_, nullptr);
      last_ = nullptr;
    }
    MutexLock lock(pulling_);
    while (next != nullptr) {
      const std::shared_ptr<EventWriter> writer = std::exchange(next, std::exchange(next->after_, nullptr));
      writer->noted_ = false;  // before it looks, so that what comes while it does is not missed
      if (!stopping) writer->Pull();
    }
  }
}

}  // namespace longhaul
