#include "engine/request/event_stream.h"

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <utility>

namespace longhaul {

int64_t MemoryOf(const Event& event) {
  constexpr size_t kAllocation = 16;
  const auto of_top = [](const std::vector<TokenLogprob>& top) {
    return top.empty() ? 0 : kAllocation + top.size() * sizeof(TokenLogprob);
  };
  size_t bytes = sizeof(Event);
  if (const auto* scores = std::get_if<ScoreChunk>(&event)) {
    for (const ScoredToken& token : scores->tokens) bytes += sizeof(token) + of_top(token.top);
  } else if (const auto* chunk = std::get_if<Chunk>(&event)) {
    bytes += chunk->text.size();
    for (const ChunkToken& token : chunk->tokens) bytes += sizeof(token) + of_top(token.top);
    for (const std::vector<float>& nats : chunk->entropies) bytes += kAllocation + nats.size() * sizeof(float);
  }
  return static_cast<int64_t>(bytes);
}

// A step can make Started or Progress, two chunks of each answer (of the document before and of its own), and Finished.
EventStream::EventStream(size_t capacity, OnReady on_ready, const TimeSource& time, size_t answers)
    : events_per_step_(2 + 2 * answers),
      capacity_(std::max(capacity, events_per_step_)),
      time_(time),
      on_ready_(std::move(on_ready)) {
  events_.reserve(4);
}

std::optional<Event> EventStream::TryNext() {
  MutexLock lock(mutex_);
  const size_t size = size_.load(std::memory_order_relaxed);
  if (size == 0) return std::nullopt;
  std::optional<Event> event = std::move(events_[n_taken_]);
  if (++n_taken_ * 2 >= events_.size()) {
    events_.erase(events_.begin(), events_.begin() + static_cast<std::ptrdiff_t>(n_taken_));
    n_taken_ = 0;
  }
  size_.store(size - 1, std::memory_order_release);
  if (!finished_) full_since_ = time_.Now();
  // Under the lock, so that the function is not called after SetOnRoom replaced it.
  const size_t room = capacity_ - std::min(capacity_, size - 1);
  if ((room == events_per_step_ || room == 2 * events_per_step_) && on_room_) on_room_();
  return event;
}

bool EventStream::ended() const {
  MutexLock lock(mutex_);
  return finished_;
}

int64_t EventStream::UnreadBytes() const {
  MutexLock lock(mutex_);
  return std::accumulate(events_.begin() + static_cast<std::ptrdiff_t>(n_taken_), events_.end(), int64_t{0},
                         [](int64_t bytes, const Event& event) { return bytes + MemoryOf(event); });
}

std::optional<Event> EventStream::Next() {
  {
    MutexLock lock(mutex_);
    ++n_waiting_;
    while (size_.load(std::memory_order_relaxed) == 0 && !finished_) pushed_.Wait(mutex_);
    --n_waiting_;
  }
  return TryNext();
}

std::optional<Clock::time_point> EventStream::FullSince() const {
  if (HasRoom()) return std::nullopt;
  MutexLock lock(mutex_);
  if (HasRoom()) return std::nullopt;
  return full_since_;
}

bool EventStream::PushQuietly(Event&& event) {
  MutexLock lock(mutex_);
  const size_t size = size_.load(std::memory_order_relaxed);
  const bool finishes = std::holds_alternative<Finished>(event);
  if (!finishes && events_.size() + 1 >= events_.capacity()) events_.reserve(2 * events_.capacity());
  finished_ = finished_ || finishes;
  if (size + events_per_step_ == capacity_) full_since_ = time_.Now();
  events_.push_back(std::move(event));
  size_.store(size + 1, std::memory_order_release);
  if (n_waiting_ > 0) pushed_.NotifyOne();
  return size == 0 || finishes;
}

void EventStream::SetOnRoom(std::function<void()> on_room) {
  MutexLock lock(mutex_);
  on_room_ = std::move(on_room);
}

}  // namespace longhaul
