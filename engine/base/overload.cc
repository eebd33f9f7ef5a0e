#include "engine/base/overload.h"

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/base/strings.h"

namespace longhaul {
namespace {

// Payloads of the status.
constexpr const char kReason[] = "longhaul/reason", kFlag[] = "longhaul/flag", kLimit[] = "longhaul/limit",
                     kRetryAfter[] = "longhaul/retry-after";

std::string Payload(const absl::Status& status, const char* name) {
  const absl::optional<absl::Cord> found = status.GetPayload(name);
  return found.has_value() ? std::string(*found) : std::string();
}

}  // namespace

absl::Status OverloadError(std::string_view message, const Overload& overload) {
  absl::Status status = absl::ResourceExhaustedError(
      absl::StrFormat("%s; try again in about %.1f s", ToAbsl(message), overload.retry_after));
  status.SetPayload(kReason, absl::Cord(overload.reason));
  status.SetPayload(kFlag, absl::Cord(overload.flag));
  status.SetPayload(kLimit, absl::Cord(overload.limit));
  SetRetryAfter(overload.retry_after, status);
  return status;
}

std::optional<Overload> OverloadOf(const absl::Status& status) {
  const std::optional<double> retry_after = RetryAfterOf(status);
  Overload overload{Payload(status, kReason), Payload(status, kFlag), Payload(status, kLimit), retry_after.value_or(0)};
  if (overload.reason.empty() || !retry_after.has_value()) return std::nullopt;
  return overload;
}

absl::Status TryAgainError(std::string_view message) {
  // About the time that a restart takes, or a load balancer to react.
  constexpr double kSeconds = 1;
  absl::Status status = absl::UnavailableError(ToAbsl(message));
  SetRetryAfter(kSeconds, status);
  return status;
}

void SetRetryAfter(double seconds, absl::Status& status) {
  status.SetPayload(kRetryAfter, absl::Cord(absl::StrCat(seconds)));
}

std::optional<double> RetryAfterOf(const absl::Status& status) {
  double seconds = 0;
  if (!absl::SimpleAtod(Payload(status, kRetryAfter), &seconds)) return std::nullopt;
  return seconds;
}

}  // namespace longhaul
