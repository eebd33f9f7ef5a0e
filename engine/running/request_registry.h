#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/mutex.h"
#include "engine/request/event_stream.h"
#include "engine/request/request.h"
#include "engine/request/request_info.h"
#include "engine/running/client_limits.h"

namespace longhaul {

class RequestRegistry;

// The entry of a request in the registry, which it leaves when it is destroyed. One thread at a time writes it, any may
// read.
class RequestRecord {
 public:
  ~RequestRecord();
  RequestRecord(const RequestRecord&) = delete;
  RequestRecord& operator=(const RequestRecord&) = delete;

  // Queues the tokenized request: its row-tokens count until LeaveQueue. An Overload when they are more than its client
  // may queue. Called once.
  absl::Status Enqueue(const PositionMode& position, int64_t rows, int64_t row_tokens, double retry_after);

  // To be called before the first step.
  void LeaveQueue();

  // Cheap (a few stores): called for every request before every step.
  void SetProgress(const RequestProgress& progress);

 private:
  friend class RequestRegistry;
  RequestRecord(RequestRegistry& registry, const Request& request, std::shared_ptr<EventStream> stream,
                Clock::time_point submitted);

  // REQUIRES: the registry's mutex is held.
  RequestInfo Info(Clock::time_point now) const;

  RequestRegistry& registry_;
  const std::string id_, client_;
  const int priority_;
  const std::shared_ptr<EventStream> stream_;
  const Clock::time_point submitted_;
  int64_t number_ = 0;
  bool entered_ = false;  // the registry has it
  bool queued_ = false;   // written by the thread that works on it
  std::atomic<RequestPhase> phase_{RequestPhase::kWaiting};
  std::atomic<int64_t> tokens_read_{0}, tokens_generated_{0}, blocks_{0};
  // Under the registry's mutex.
  PositionMode position_;
  int64_t rows_ = 0, row_tokens_ = 0;
};

// The requests that have not finished, in whatever thread they are, and the limits of their clients. Reading waits for
// no step. Thread-safe; outlives its records.
class RequestRegistry {
 public:
  explicit RequestRegistry(const ClientLimits& limits) : limits_(limits) {}

  // Adds a request. An Overload when its client has as many requests as it may.
  absl::StatusOr<std::shared_ptr<RequestRecord>> Add(const Request& request, std::shared_ptr<EventStream> stream,
                                                     Clock::time_point submitted, double retry_after);

  // In the order of their arrival.
  std::vector<RequestInfo> List(Clock::time_point now) const;

  // Cancels the streams of all requests with this id; returns how many were not cancelled before. The caller wakes the
  // engine, which sees it.
  int64_t Cancel(const std::string& id);

  // Row-tokens of the requests that wait.
  int64_t queued_tokens() const;

 private:
  friend class RequestRecord;

  mutable Mutex mutex_;
  ClientLimits limits_ ABSL_GUARDED_BY(mutex_);
  int64_t next_number_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<int64_t, RequestRecord*> records_ ABSL_GUARDED_BY(mutex_);  // by number, the order of arrival
};

}  // namespace longhaul
