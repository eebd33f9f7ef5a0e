#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace longhaul {

// Why a request was refused for lack of room, in a form for programs.
struct Overload {
  std::string reason;      // a constant: QUEUE_FULL, CLIENT_LIMIT, MESSAGE_MEMORY
  std::string flag;        // what sets the limit, "--max-queue"
  std::string limit;       // its value
  double retry_after = 0;  // seconds after which trying again makes sense
};

// RESOURCE_EXHAUSTED whose text is `message` and the time to wait; carries `overload` as payloads.
absl::Status OverloadError(std::string_view message, const Overload& overload);

// The Overload that a status carries; none if it was not made by OverloadError.
std::optional<Overload> OverloadOf(const absl::Status& status);

// UNAVAILABLE with `message` and a retry-after of a second: this server, or another one, will soon answer.
absl::Status TryAgainError(std::string_view message);

// Adds a retry-after to a status.
void SetRetryAfter(double seconds, absl::Status& status);
// The retry-after of a status in seconds; none if it has none.
std::optional<double> RetryAfterOf(const absl::Status& status);

}  // namespace longhaul
