#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>

#include "absl/status/status.h"

namespace longhaul {

// Limits what one client may have waiting or running, so that there is room for others. One thread at a time.
class ClientLimits {
 public:
  // `max_requests`: requests that wait or run. `max_queued_tokens`: row-tokens (prompt tokens of all rows) of requests
  // that wait. 0: no limit.
  ClientLimits(int64_t max_requests, int64_t max_queued_tokens)
      : max_requests_(max_requests), max_queued_tokens_(max_queued_tokens) {}

  // Counts a request until End. An Overload, and nothing is counted, where its client has as many as it may;
  // `retry_after`: see Overload.
  absl::Status Begin(const std::string& client, double retry_after);
  // Ends a request. REQUIRES: Begin counted it.
  void End(const std::string& client);

  // Counts the row-tokens of a request until LeaveQueue. An Overload, and nothing is counted, where the client would
  // exceed what it may have in the queue; a client with nothing queued may queue one request of any size.
  absl::Status Enqueue(const std::string& client, int64_t row_tokens, double retry_after);
  // Takes off what Enqueue counted. REQUIRES: it did.
  void LeaveQueue(const std::string& client, int64_t row_tokens);

  // Row-tokens in the queue, of all clients.
  int64_t queued_tokens() const { return queued_tokens_; }
  // Clients that have a request; the memory of this grows with them.
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
