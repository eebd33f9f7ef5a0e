#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace longhaul {

// Why there is no room for a request at the moment, for programs.
struct Overload {
  std::string reason;      // a constant: QUEUE_FULL, CLIENT_LIMIT, MESSAGE_MEMORY
  std::string flag;        // what sets the limit, "--max-queue"
  std::string limit;       // its value
  double retry_after = 0;  // seconds after which trying again makes sense
};

// RESOURCE_EXHAUSTED with `message` and when to try again, for people, and all of `overload`.
absl::Status OverloadError(std::string_view message, const Overload& overload);

// What OverloadError put into a status; none in others.
std::optional<Overload> OverloadOf(const absl::Status& status);

// UNAVAILABLE with `message`, of a server that does not answer at the moment; this one or another will soon.
absl::Status TryAgainError(std::string_view message);

// Says in a status after how many seconds trying again makes sense.
void SetRetryAfter(double seconds, absl::Status& status);
// The seconds that OverloadError, TryAgainError or SetRetryAfter put into a status; none in others.
std::optional<double> RetryAfterOf(const absl::Status& status);

}  // namespace longhaul
