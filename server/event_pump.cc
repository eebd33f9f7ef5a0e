#include "server/event_pump.h"

#include <utility>

namespace longhaul {

EventPump::EventPump() : thread_([this] { Run(); }) {}

EventPump::~EventPump() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
  }
  noted_.NotifyOne();
  thread_.join();
}

void EventPump::Note(std::weak_ptr<EventWriter> writer) {
  bool was_empty = false;
  {
    MutexLock lock(mutex_);
    was_empty = notes_.empty();
    notes_.push_back(std::move(writer));
  }
  if (was_empty) noted_.NotifyOne();
}

void EventPump::Run() {
  std::deque<std::weak_ptr<EventWriter>> notes;
  for (;;) {
    {
      MutexLock lock(mutex_);
      while (notes_.empty() && !stopping_) noted_.Wait(mutex_);
      if (stopping_) return;
      notes.swap(notes_);
    }
    for (const auto& note : notes) {
      if (const auto writer = note.lock()) writer->Pull();
    }
    notes.clear();
  }
}

}  // namespace longhaul
