#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>

#include "absl/status/status.h"

namespace longhaul {

// How much one client may have at a time, so that a greedy one leaves room in the queue for others. One thread at a
// time.
class ClientLimits {
 public:
  // `max_requests`: that wait or run. `max_queued_tokens`: row-tokens (tokens of the prompt, of all rows together) of
  // requests that wait. 0: no limit.
  ClientLimits(int64_t max_requests, int64_t max_queued_tokens)
      : max_requests_(max_requests), max_queued_tokens_(max_queued_tokens) {}

  // Counts a request from its arrival to End. An Overload, and nothing counted, when its client has as many as it may;
  // `retry_after`: see Overload.
  absl::Status Begin(const std::string& client, double retry_after);
  // REQUIRES: one that began and did not end.
  void End(const std::string& client);

  // Counts a request's row-tokens until LeaveQueue. An Overload, and nothing counted, when they and what its client has
  // in the queue exceed what it may; a client with nothing in the queue may queue one request of any size.
  absl::Status Enqueue(const std::string& client, int64_t row_tokens, double retry_after);
  // REQUIRES: so many were counted.
  void LeaveQueue(const std::string& client, int64_t row_tokens);

  // Row-tokens in the queue, of all clients.
  int64_t queued_tokens() const { return queued_tokens_; }
  // Clients that have a request: what the memory of this grows with.
  size_t clients() const { return clients_.size(); }

 private:
  struct Use {
    int64_t requests = 0, queued_tokens = 0;
  };

  const int64_t max_requests_, max_queued_tokens_;
  int64_t queued_tokens_ = 0;
  std::unordered_map<std::string, Use> clients_;
};

}  // namespace longhaul
