#include "engine/request/request.h"

#include "absl/strings/str_cat.h"
#include "engine/base/overload.h"

namespace longhaul {

const char* Name(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kEos:
      return "eos";
    case FinishReason::kCancelled:
      return "cancelled";
    case FinishReason::kDeadline:
      return "deadline";
    case FinishReason::kStalled:
      return "stalled";
    case FinishReason::kError:
      return "error";
    case FinishReason::kUnavailable:
      return "unavailable";
  }
  return "unknown";
}

absl::Status DeadlineError(const Request& request) {
  if (request.max_time.count() == 0) return absl::DeadlineExceededError("the request's deadline has passed");
  return absl::DeadlineExceededError(
      absl::StrCat("the request took longer than ", request.max_time.count(),
                   " ms, what the server allows without a deadline (--max-request-time)"));
}

absl::Status DrainingError() {
  return TryAgainError("the server is shutting down");
}

absl::Status DrainedError() {
  return TryAgainError("the server is shutting down and could not wait any longer (--drain-timeout)");
}

}  // namespace longhaul
