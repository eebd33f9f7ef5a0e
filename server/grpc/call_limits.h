#pragma once

#include <chrono>
#include <cstdint>

#include "server/grpc/request_budget.h"
#include "server/grpc/stall_watch.h"

namespace longhaul {

// What the calls of all services of a server share. Outlives them.
struct CallLimits {
  // `max_bytes`: of messages that wait. `stall_timeout`: for which a client may take nothing of an answer; 0: for ever.
  CallLimits(int64_t max_bytes, std::chrono::milliseconds stall_timeout) : budget(max_bytes), stalls(stall_timeout) {}

  RequestBudget budget;
  StallWatch stalls;
};

}  // namespace longhaul
