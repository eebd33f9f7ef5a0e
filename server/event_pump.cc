#include "server/event_pump.h"

#include <utility>

#include "engine/base/this_thread.h"

namespace longhaul {

EventPump::EventPump() : thread_([this] { Run(); }) {}

void EventPump::Stop() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
  }
  noted_.NotifyOne();
  if (thread_.joinable()) thread_.join();
}

void EventPump::Note(std::weak_ptr<EventWriter> writer, bool more) {
  {
    MutexLock lock(mutex_);
    if (stopping_) return;
    notes_.push_back(std::move(writer));
  }
  if (!more) noted_.NotifyOne();  // a system call only where the thread sleeps
}

void EventPump::Run() {
  NameThisThread("event pump");
  std::deque<std::weak_ptr<EventWriter>> notes;
  for (;;) {
    {
      MutexLock lock(mutex_);
      while (notes_.empty() && !stopping_) noted_.Wait(mutex_);
      if (stopping_) return;
      notes.swap(notes_);
    }
    {
      MutexLock lock(pulling_);
      for (const auto& note : notes) {
        if (const auto writer = note.lock()) writer->Pull();
      }
    }
    notes.clear();
  }
}

}  // namespace longhaul
