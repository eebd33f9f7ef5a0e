#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "engine/base/overload.h"

namespace longhaul {

// Bounds the memory of messages: of requests that wait, and of answers that their clients have not taken. Thread-safe.
class RequestBudget {
 public:
  // Bytes of the budget, taken until this has gone, at the latest before the budget.
  class Share {
   public:
    Share() = default;
    Share(Share&& other) noexcept : budget_(std::exchange(other.budget_, nullptr)), bytes_(other.bytes_) {}
    Share& operator=(Share&& other) noexcept {
      Release();
      budget_ = std::exchange(other.budget_, nullptr);
      bytes_ = other.bytes_;
      return *this;
    }
    ~Share() { Release(); }

    void Release() {
      if (RequestBudget* const budget = std::exchange(budget_, nullptr)) budget->taken_.fetch_sub(bytes_);
    }

   private:
    friend class RequestBudget;
    Share(RequestBudget& budget, int64_t bytes) : budget_(&budget), bytes_(bytes) {}

    RequestBudget* budget_ = nullptr;
    int64_t bytes_ = 0;
  };

  explicit RequestBudget(int64_t max_bytes) : max_bytes_(max_bytes) {}

  // From now on; what is taken stays taken.
  void SetLimit(int64_t max_bytes) { max_bytes_ = max_bytes; }

  // Room for a message of so many bytes. An Overload, naming the bound, when there is none; `retry_after()` is called
  // then. A message that is not small leaves a quarter to those that are, so that who asks for little is answered
  // while others fill the rest; one that has all to itself may be of any size.
  template <typename RetryAfter>
  absl::StatusOr<Share> Take(int64_t message_bytes, RetryAfter retry_after) {
    const int64_t bytes = message_bytes + kCallBytes, max_bytes = max_bytes_;
    const int64_t most = bytes > kSmallBytes ? max_bytes - max_bytes / 4 : max_bytes;
    const int64_t others = taken_.fetch_add(bytes);
    Share share(*this, bytes);
    if (others == 0 || others + bytes <= most) return share;
    share.Release();
    return OverloadError(absl::StrCat("the messages of requests that wait and of answers that were not taken fill ",
                                      max_bytes, " bytes, four times --max-message-size"),
                         {.reason = "MESSAGE_MEMORY",
                          .flag = "--max-message-size",
                          .limit = absl::StrCat(max_bytes),
                          .retry_after = retry_after()});
  }

  // As Take, for a message that there is already, whether there is room or not.
  Share Hold(int64_t message_bytes) {
    taken_.fetch_add(message_bytes);
    return Share(*this, message_bytes);
  }

  int64_t taken() const { return taken_; }

 private:
  // What a call takes beside its message, roughly: so many small ones are bounded too.
  static constexpr int64_t kCallBytes = 4 << 10;
  static constexpr int64_t kSmallBytes = 64 << 10;

  std::atomic<int64_t> max_bytes_;
  std::atomic<int64_t> taken_{0};
};

}  // namespace longhaul
