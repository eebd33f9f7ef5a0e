#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "engine/base/mutex.h"
#include "engine/base/prefetch.h"
#include "engine/base/time_source.h"
#include "engine/request/request.h"

namespace longhaul {

// The approximate memory of an event in bytes.
int64_t MemoryOf(const Event& event);

// The queue between the engine and the one reader of a request's events. Bounded: while it has no room the engine does
// not schedule the request's rows, so that no event is dropped and the engine never waits. Thread-safe.
class EventStream {
 public:
  // `more`: the same thread is about to call this for further streams, so that a wake-up may wait for the last one. All
  // streams of an engine for which `more` is used must wake the same thread.
  using OnReady = std::function<void(bool more)>;

  // `on_ready`: called on the thread that pushes, when an event arrives in an empty queue and when Finished arrives
  // behind others. It must be short and must not call the stream; may be empty. `capacity`: events; at least those that
  // one step can make for `answers` answers. `time` is not owned and is not read
  // any more once Finished was pushed.
  EventStream(size_t capacity, OnReady on_ready, const TimeSource& time = SteadyTime(), size_t answers = 1);

  // --- The reader's side ---

  // The next event; none when there is none yet.
  std::optional<Event> TryNext();

  // Whether Finished has been pushed: nothing is added any more.
  bool ended() const;

  // Events that have not been taken.
  size_t unread() const { return size_.load(std::memory_order_acquire); }

  // The approximate memory of the unread events in bytes.
  int64_t UnreadBytes() const;

  // Waits for the next event; none after Finished has been taken.
  std::optional<Event> Next();

  // Tells the engine, which looks between two steps, that the reader wants no more.
  void Cancel() { cancelled_.store(true, std::memory_order_release); }

  // --- The engine's side ---

  bool cancelled() const { return cancelled_.load(std::memory_order_acquire); }

  // Whether there is room for all events that `steps` further steps can make. Takes no lock.
  bool HasRoom(size_t steps = 1) const { return unread() + steps * events_per_step_ <= capacity_; }

  // When it last became full or, while full, an event was taken; none while it has room.
  std::optional<Clock::time_point> FullSince() const;

  // Adds an event and tells the reader. Never blocks; keeps events beyond the capacity too (HasRoom is asked before a
  // step).
  void Push(Event&& event) {
    if (PushQuietly(std::move(event))) TellReader(/*more=*/false);
  }

  // As Push, but returns whether the reader is to be told, by TellReader: for callers with many streams. Throws
  // std::bad_alloc, and adds nothing, where there is no memory; for Finished there always is.
  bool PushQuietly(Event&& event);
  void TellReader(bool more) {
    if (on_ready_) on_ready_(more);
  }

  // Prefetches what PushQuietly and TellReader will touch. On the thread that pushes.
  void PrefetchPush() const ABSL_NO_THREAD_SAFETY_ANALYSIS {
    Prefetch(this, &on_room_);
    Prefetch(events_.data());  // only pushing moves the queue elsewhere
  }

  // Sets what is called, under the stream's lock, when the reader has made room again for one step, or for two.
  // Replaces the one before, which is never called again; may be empty.
  void SetOnRoom(std::function<void()> on_room);

 private:
  // Hot fields first: touched once per token.
  const size_t events_per_step_;
  const size_t capacity_;
  const TimeSource& time_;
  std::atomic<size_t> size_{0};  // of the queue; written under the lock
  std::atomic<bool> cancelled_{false};
  mutable Mutex mutex_;
  // The queue is events_[n_taken_..]. Taken events are erased when they are half of the vector, so that a push seldom
  // allocates and, with a reader that keeps up, always touches the same memory.
  std::vector<Event> events_ ABSL_GUARDED_BY(mutex_);
  size_t n_taken_ ABSL_GUARDED_BY(mutex_) = 0;
  int n_waiting_ ABSL_GUARDED_BY(mutex_) = 0;  // in Next
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  Clock::time_point full_since_ ABSL_GUARDED_BY(mutex_);  // the later of: became full, an event was taken
  const OnReady on_ready_;
  std::function<void()> on_room_ ABSL_GUARDED_BY(mutex_);
  CondVar pushed_;
};

}  // namespace longhaul
