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

// The memory that an event takes, roughly, in bytes.
int64_t MemoryOf(const Event& event);

// The queue between the engine and the one reader of a request's events. Bounded in events: while it is full the engine
// does not schedule the request's rows, so no event is dropped and nobody waits. Thread-safe.
class EventStream {
 public:
  // `more`: the same thread will tell of further streams at once, so that whoever is to be woken may be woken after the
  // last one. All streams of an engine that are told so must have one and the same to wake.
  using OnReady = std::function<void(bool more)>;

  // `on_ready` is called, on the thread that pushes, whenever events appear in an empty queue, and when Finished comes
  // behind others: it must be short and must not call back into the stream; it may be empty.
  // `time` is not owned and outlives it.
  EventStream(size_t capacity, OnReady on_ready, const TimeSource& time = SteadyTime());

  // --- The reader's side ---

  // The next event; none when there is none at this moment.
  std::optional<Event> TryNext();

  // Whether Finished has been pushed, taken or not: nothing is added any more.
  bool ended() const;

  // The memory of the events that nobody has taken, roughly.
  int64_t UnreadBytes() const;

  // Waits for the next event; none after Finished has been taken.
  std::optional<Event> Next();

  // The reader has gone or wants no more. The engine sees it between two steps.
  void Cancel() { cancelled_.store(true, std::memory_order_release); }

  // --- The engine's side ---

  bool cancelled() const { return cancelled_.load(std::memory_order_acquire); }

  // Whether as many more events as so many steps can make have room. Takes no lock.
  bool HasRoom(size_t steps = 1) const {
    return size_.load(std::memory_order_acquire) + steps * kEventsPerStep <= capacity_;
  }

  // Since when it has had no room and nothing has been taken; none while it has room.
  std::optional<Clock::time_point> FullSince() const;

  // Never blocks; events beyond the capacity are kept too (HasRoom is asked before a step, not within).
  void Push(Event&& event) {
    if (PushQuietly(std::move(event))) TellReader(/*more=*/false);
  }

  // As Push, for who has many streams to push to: returns whether the reader is to be told, by TellReader. Throws
  // std::bad_alloc, and nothing is pushed, where there is no memory; for Finished there always is.
  bool PushQuietly(Event&& event);
  void TellReader(bool more) {
    if (on_ready_) on_ready_(more);
  }

  // Asks for the memory that PushQuietly and TellReader will touch. On the thread that pushes.
  void PrefetchPush() const ABSL_NO_THREAD_SAFETY_ANALYSIS {
    Prefetch(this, &on_room_);
    Prefetch(events_.data());  // only pushing moves the queue elsewhere
  }

  // Called, under the stream's lock, when the reader makes room for one or two steps that there was none for, so that
  // the engine looks again. Once another (or none) is set, the former one is never called again.
  void SetOnRoom(std::function<void()> on_room);

 private:
  // Events that one step can make for one request: Started, Progress, Chunk, Finished.
  static constexpr size_t kEventsPerStep = 4;

  // What each token touches comes first and lies together.
  const size_t capacity_;
  const TimeSource& time_;
  std::atomic<size_t> size_{0};  // of the queue; written under the lock
  std::atomic<bool> cancelled_{false};
  mutable Mutex mutex_;
  // The queue is events_[n_taken_..]. Those in front have been taken; they go when they are half of it, so that a
  // reader who keeps up always finds the next event in the same place, and no event costs an allocation.
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
