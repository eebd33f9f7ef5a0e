#pragma once

#include <atomic>
#include <memory>
#include <thread>

#include "engine/base/mutex.h"

namespace longhaul {

// Writes events to a client.
class EventWriter {
 public:
  virtual ~EventWriter() = default;
  // Writes what is there, if nothing is being written. Throws nothing. Any thread but the engine's.
  virtual void Pull() = 0;

 private:
  friend class EventPump;
  std::atomic<bool> noted_{false};      // it is in the pump's list
  std::shared_ptr<EventWriter> after_;  // there
};

// A thread that starts gRPC writes on behalf of the engine's thread, which only adds the writer to a list here:
// starting a write takes gRPC some 10 microseconds, too long for the engine's thread.
class EventPump {
 public:
  EventPump();  // throws what StartThread does
  ~EventPump() { Stop(); }
  EventPump(const EventPump&) = delete;
  EventPump& operator=(const EventPump&) = delete;

  // Forgets what was noted and joins the thread; what is noted later is forgotten too. Not from that thread.
  void Stop();

  // Has `writer`'s Pull called soon, unless it is gone by then; where `more` notes follow at once from the same thread,
  // after them. Any thread; short; takes no memory.
  void Note(const std::weak_ptr<EventWriter>& writer, bool more);

  // Returns when the writers that are being called have all been called. For what gRPC calls when a write is done: that
  // comes while the next write is being started, and a thread of gRPC that goes back to wait for the next one would be
  // woken for each. It waits for as long as starting the writes of a step takes, some 10 microseconds each. Not from
  // within Pull.
  void AwaitPulls() { MutexLock lock(pulling_); }

 private:
  void Run();

  Mutex pulling_;  // held while writers are called
  Mutex mutex_;
  CondVar noted_;
  // Of those that were noted, in their order; null: none.
  std::shared_ptr<EventWriter> first_ ABSL_GUARDED_BY(mutex_);
  EventWriter* last_ ABSL_GUARDED_BY(mutex_) = nullptr;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace longhaul
