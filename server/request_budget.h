#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "engine/base/overload.h"

namespace longhaul {

// Bounds the memory of requests that wait. Thread-safe.
class RequestBudget {
 public:
  explicit RequestBudget(int64_t max_bytes) : max_bytes_(max_bytes) {}

  // Room for a message of so many bytes, taken until the last copy of the share has gone, at the latest before this.
  // An Overload, naming the bound, when there is none; `retry_after()` is called then.
  template <typename RetryAfter>
  absl::StatusOr<std::shared_ptr<void>> Take(int64_t message_bytes, RetryAfter retry_after) {
    const int64_t bytes = message_bytes + kCallBytes;
    if (taken_.fetch_add(bytes) + bytes > max_bytes_) {
      taken_.fetch_sub(bytes);
      return OverloadError(
          absl::StrCat("the messages of waiting requests fill ", max_bytes_, " bytes, four times --max-message-size"),
          {.reason = "MESSAGE_MEMORY",
           .flag = "--max-message-size",
           .limit = absl::StrCat(max_bytes_),
           .retry_after = retry_after()});
    }
    return std::shared_ptr<void>(this, [bytes](RequestBudget* budget) { budget->taken_.fetch_sub(bytes); });
  }

  int64_t taken() const { return taken_.load(); }

 private:
  // What a call takes beside its message, roughly: so many small ones are bounded too.
  static constexpr int64_t kCallBytes = 4 << 10;

  const int64_t max_bytes_;
  std::atomic<int64_t> taken_{0};
};

}  // namespace longhaul
