#include "engine/running/client_limits.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/base/overload.h"
#include "engine/base/quoted.h"

namespace longhaul {
namespace {

constexpr char kReason[] = "CLIENT_LIMIT";

}  // namespace

absl::Status ClientLimits::Begin(const std::string& client, double retry_after) {
  Use& use = clients_[client];
  if (max_requests_ > 0 && use.requests >= max_requests_) {
    // A request of the same client must end first; the queue says nothing about when.
    constexpr double kShortest = 1;
    return OverloadError(absl::StrCat("client ", Quoted(client), " has ", use.requests, " requests, the limit is ",
                                      max_requests_, " (--max-client-requests)"),
                         {.reason = kReason,
                          .flag = "--max-client-requests",
                          .limit = absl::StrCat(max_requests_),
                          .retry_after = std::max(retry_after, kShortest)});
  }
  ++use.requests;
  return absl::OkStatus();
}

void ClientLimits::End(const std::string& client) {
  const auto found = clients_.find(client);
  if (--found->second.requests == 0) clients_.erase(found);
}

absl::Status ClientLimits::Enqueue(const std::string& client, int64_t row_tokens, double retry_after) {
  Use& use = clients_.at(client);
  if (max_queued_tokens_ > 0 && use.queued_tokens > 0 && use.queued_tokens + row_tokens > max_queued_tokens_) {
    return OverloadError(
        absl::StrCat("client ", Quoted(client), " has ", use.queued_tokens, " tokens in the queue; with the ",
                     row_tokens, " of this request they exceed the limit, ", max_queued_tokens_,
                     " (--max-client-queued-tokens)"),
        {.reason = kReason,
         .flag = "--max-client-queued-tokens",
         .limit = absl::StrCat(max_queued_tokens_),
         .retry_after = retry_after});
  }
  use.queued_tokens += row_tokens;
  queued_tokens_ += row_tokens;
  return absl::OkStatus();
}

void ClientLimits::LeaveQueue(const std::string& client, int64_t row_tokens) {
  clients_.at(client).queued_tokens -= row_tokens;
  queued_tokens_ -= row_tokens;
}

}  // namespace longhaul
