#include "server/grpc/request_budget.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/base/overload.h"
#include "server/front/peer_name.h"

namespace longhaul {
namespace {

// Rough cost of a call beside its message, so that many small ones are bounded too.
constexpr int64_t kCallBytes = 4 << 10;
constexpr int64_t kSmallBytes = 64 << 10;

}  // namespace

struct RequestBudget::Account {
  explicit Account(int64_t part_of_all) : part(part_of_all) {}

  const int64_t part;  // it may hold 1 / part of the budget
  std::atomic<int64_t> taken{0};
};

void RequestBudget::Share::Release() {
  const Holder holder = std::move(holder_);
  if (holder == nullptr) return;
  holder->taken -= bytes_;
  budget_->taken_ -= bytes_;
}

RequestBudget::Holder RequestBudget::HolderOf(std::string_view grpc_peer) {
  const std::string peer = PeerOfGrpc(grpc_peer), address = NetworkOfPeer(peer);
  MutexLock lock(mutex_);
  const auto found = accounts_.find(address);
  if (found != accounts_.end()) {
    if (Holder known = found->second.lock()) return known;
  }
  if (accounts_.size() >= prune_at_) {
    std::erase_if(accounts_, [](const auto& entry) { return entry.second.expired(); });
    prune_at_ = 2 * std::max<size_t>(accounts_.size(), 32);
  }
  auto made = std::make_shared<Account>(peer.starts_with("unix") ? 1 : 2);
  accounts_.insert_or_assign(address, made);
  return made;
}

absl::StatusOr<RequestBudget::Share> RequestBudget::Take(const Holder& holder, int64_t message_bytes,
                                                         absl::FunctionRef<double()> retry_after) {
  const int64_t bytes = message_bytes + kCallBytes, max_bytes = max_bytes_;
  const auto fits = [bytes](int64_t before, int64_t max) {
    return before == 0 || before + bytes <= (bytes > kSmallBytes ? max - max / 4 : max);
  };
  const int64_t others = taken_.fetch_add(bytes), own = holder->taken.fetch_add(bytes);
  Share share(*this, holder, bytes);
  const bool room = fits(others, max_bytes);
  if (room && fits(own, max_bytes / holder->part)) return share;
  share.Release();
  const int64_t limit = room ? max_bytes / holder->part : max_bytes;
  return OverloadError(
      absl::StrCat("the messages of requests that wait and of answers that were not taken",
                   room ? ", of this address," : "", " fill their bound of ", limit, " bytes, see --max-message-size"),
      {.reason = "MESSAGE_MEMORY",
       .flag = "--max-message-size",
       .limit = absl::StrCat(limit),
       .retry_after = retry_after()});
}

RequestBudget::Share RequestBudget::Hold(const Holder& holder, int64_t message_bytes) {
  taken_ += message_bytes;
  holder->taken += message_bytes;
  return Share(*this, holder, message_bytes);
}

}  // namespace longhaul
