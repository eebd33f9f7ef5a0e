#include "engine/running/request_registry.h"

#include <chrono>
#include <utility>
#include <variant>

#include "absl/cleanup/cleanup.h"
#include "engine/base/status_macros.h"

namespace longhaul {

RequestRecord::RequestRecord(RequestRegistry& registry, const Request& request, std::shared_ptr<EventStream> stream,
                             Clock::time_point submitted)
    : registry_(registry),
      id_(request.id),
      client_(request.client),
      priority_(request.priority),
      stream_(std::move(stream)),
      submitted_(submitted),
      position_(std::visit([](const auto& params) { return params.position; }, request.params)) {}

RequestRecord::~RequestRecord() {
  if (!entered_) return;
  LeaveQueue();
  MutexLock lock(registry_.mutex_);
  registry_.records_.erase(number_);
  registry_.limits_.End(client_);
}

absl::Status RequestRecord::Enqueue(const PositionMode& position, int64_t rows, int64_t row_tokens,
                                    double retry_after) {
  MutexLock lock(registry_.mutex_);
  LH_RETURN_IF_ERROR(registry_.limits_.Enqueue(client_, row_tokens, retry_after));
  queued_ = true;
  position_ = position;
  rows_ = rows;
  row_tokens_ = row_tokens;
  return absl::OkStatus();
}

void RequestRecord::LeaveQueue() {
  if (!queued_) return;
  queued_ = false;
  MutexLock lock(registry_.mutex_);
  registry_.limits_.LeaveQueue(client_, row_tokens_);
}

void RequestRecord::SetProgress(const RequestProgress& progress) {
  // Stored one by one: a reader may see values of two steps.
  phase_.store(progress.phase, std::memory_order_relaxed);
  tokens_read_.store(progress.tokens_read, std::memory_order_relaxed);
  tokens_generated_.store(progress.tokens_generated, std::memory_order_relaxed);
  blocks_.store(progress.blocks, std::memory_order_relaxed);
}

RequestInfo RequestRecord::Info(Clock::time_point now) const {
  RequestInfo info;
  info.id = id_;
  info.client = client_;
  info.priority = priority_;
  info.position = position_;
  info.rows = rows_;
  info.prompt_tokens = row_tokens_;
  info.age = std::chrono::duration<double>(now - submitted_).count();
  info.progress = {phase_.load(std::memory_order_relaxed), tokens_read_.load(std::memory_order_relaxed),
                   tokens_generated_.load(std::memory_order_relaxed), blocks_.load(std::memory_order_relaxed)};
  return info;
}

absl::StatusOr<std::shared_ptr<RequestRecord>> RequestRegistry::Add(const Request& request,
                                                                    std::shared_ptr<EventStream> stream,
                                                                    Clock::time_point submitted, double retry_after) {
  std::shared_ptr<RequestRecord> record(new RequestRecord(*this, request, std::move(stream), submitted));
  MutexLock lock(mutex_);
  const auto place = records_.emplace(next_number_, record.get()).first;
  absl::Cleanup leave = [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { records_.erase(place); };
  LH_RETURN_IF_ERROR(limits_.Begin(request.client, retry_after));
  std::move(leave).Cancel();
  record->number_ = next_number_++;
  record->entered_ = true;
  return record;
}

std::vector<RequestInfo> RequestRegistry::List(Clock::time_point now) const {
  std::vector<RequestInfo> all;
  MutexLock lock(mutex_);
  all.reserve(records_.size());
  for (const auto& [number, record] : records_) all.push_back(record->Info(now));
  return all;
}

int64_t RequestRegistry::Cancel(const std::string& id) {
  int64_t cancelled = 0;
  MutexLock lock(mutex_);
  for (const auto& [number, record] : records_) {
    if (record->id_ != id || record->stream_->cancelled()) continue;
    record->stream_->Cancel();
    ++cancelled;
  }
  return cancelled;
}

int64_t RequestRegistry::queued_tokens() const {
  MutexLock lock(mutex_);
  return limits_.queued_tokens();
}

}  // namespace longhaul
