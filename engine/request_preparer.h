#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/cache/block_pool.h"
#include "engine/event_stream.h"
#include "engine/position/position_resolver.h"
#include "engine/prompt_encoder.h"
#include "engine/request.h"
#include "engine/request_state.h"
#include "engine/telemetry.h"

namespace longhaul {

// Turns a request into what the engine runs: tokens, plan, rows. Everything that can refuse a request but the room that
// there is for it at the moment. Any thread, several at a time; what it makes is the engine thread's.
class RequestPreparer {
 public:
  struct Limits {
    int64_t max_request_tokens = 0;  // prompt and answer together; 0: no bound of its own
    int64_t max_rows = 1;            // of one request, all its answers together
    std::string engine_fingerprint;
  };

  // None is owned; all outlive it and what it makes. `pool`: rows will take their blocks from it. `telemetry` counts
  // what was too long.
  RequestPreparer(const PromptEncoder& encoder, const PositionResolver& positions, BlockPool& pool,
                  Telemetry& telemetry, Limits limits)
      : encoder_(encoder), positions_(positions), pool_(pool), telemetry_(telemetry), limits_(std::move(limits)) {}

  // INVALID_ARGUMENT names the field, CANCELLED and DEADLINE_EXCEEDED when nobody waits any more.
  absl::StatusOr<std::unique_ptr<RequestState>> Prepare(Request request, std::shared_ptr<EventStream> stream,
                                                        Clock::time_point submitted) const;

  // No request is wanted any more: what is being prepared ends soon as CANCELLED.
  void GiveUp() { gives_up_ = true; }

 private:
  // The number of tokens that a request can hold at most, and why.
  struct Room {
    int64_t tokens;
    std::string limit;
    Rejection rejection;  // what one that exceeds it counts as
  };

  absl::StatusOr<std::unique_ptr<RequestState>> PrepareGenerate(Request request, std::shared_ptr<EventStream> stream,
                                                                Clock::time_point submitted) const;
  absl::StatusOr<std::unique_ptr<RequestState>> PrepareScore(Request request, std::shared_ptr<EventStream> stream,
                                                             Clock::time_point submitted) const;
  // The ids of its prompt, which it no longer holds then.
  absl::StatusOr<std::vector<TokenId>> TakePrompt(Request& request, const EventStream& stream) const;
  // CANCELLED or DEADLINE_EXCEEDED once nobody waits for it.
  absl::Status CheckWanted(const Request& request, const EventStream& stream) const;
  // Counts it.
  absl::Status TooLong(const Room& room, const std::string& message) const;
  Room MostTokens(const ResolvedPosition& position) const;
  // Before the mode is resolved: a bound for every one.
  Room MostTokensInAnyMode() const;
  int64_t cache_tokens() const { return pool_.total() * kBlockTokens; }

  const PromptEncoder& encoder_;
  const PositionResolver& positions_;
  BlockPool& pool_;
  Telemetry& telemetry_;
  const Limits limits_;
  std::atomic<bool> gives_up_{false};
};

}  // namespace longhaul
