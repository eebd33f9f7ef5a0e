#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "engine/base/mutex.h"

namespace longhaul {

// Bounds the memory of messages: of requests that wait, and of answers that their clients have not taken. One address
// may hold half of it, so that whoever takes no answers leaves room to others. Thread-safe.
class RequestBudget {
  struct Account;

 public:
  // What the calls of one address hold.
  using Holder = std::shared_ptr<Account>;

  // Bytes of the budget, taken until this has gone, at the latest before the budget.
  class Share {
   public:
    Share() = default;
    Share(Share&& other) noexcept = default;
    Share& operator=(Share&& other) noexcept {
      Release();
      budget_ = other.budget_;
      holder_ = std::move(other.holder_);
      bytes_ = other.bytes_;
      return *this;
    }
    ~Share() { Release(); }

    void Release();

   private:
    friend class RequestBudget;
    Share(RequestBudget& budget, Holder holder, int64_t bytes)
        : budget_(&budget), holder_(std::move(holder)), bytes_(bytes) {}

    RequestBudget* budget_ = nullptr;
    Holder holder_;  // null where nothing is taken
    int64_t bytes_ = 0;
  };

  explicit RequestBudget(int64_t max_bytes) : max_bytes_(max_bytes) {}

  // From now on; what is taken stays taken.
  void SetLimit(int64_t max_bytes) { max_bytes_ = max_bytes; }

  // The account of a client, by its gRPC peer. Clients of a unix socket have one, and may hold all.
  Holder HolderOf(std::string_view grpc_peer);

  // Room for a message of so many bytes. An Overload, naming the bound, when there is none; `retry_after()` is called
  // then. A message that is not small leaves a quarter to those that are, so that who asks for little is answered
  // while others fill the rest; one that has all to itself may be of any size.
  absl::StatusOr<Share> Take(const Holder& holder, int64_t message_bytes, absl::FunctionRef<double()> retry_after);

  // As Take, for a message that there is already, whether there is room or not.
  Share Hold(const Holder& holder, int64_t message_bytes);

  int64_t taken() const { return taken_; }

 private:
  std::atomic<int64_t> max_bytes_;
  std::atomic<int64_t> taken_{0};
  Mutex mutex_;
  // By address; those that hold nothing, and have no call, may have expired.
  std::map<std::string, std::weak_ptr<Account>, std::less<>> accounts_ ABSL_GUARDED_BY(mutex_);
  size_t prune_at_ ABSL_GUARDED_BY(mutex_) = 64;
};

}  // namespace longhaul
