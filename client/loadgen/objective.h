#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace longhaul::loadgen {

// A bound that the operator promises (a service level objective).
struct Objective {
  enum class Metric {
    kTimeToFirstToken,    // ttft
    kInterTokenLatency,   // itl: over all gaps
    kTimePerOutputToken,  // tpot: over requests
    kEndToEnd,            // e2e
    kErrorRate,           // error_rate: failed / measured
  };
  Metric metric = Metric::kTimeToFirstToken;
  double percent = 99;  // of latencies, 0 to 100
  double bound = 0;     // seconds; a share for error_rate
  std::string name;     // "ttft_p99"
};

// "ttft_p99=500ms,itl_p99=80ms,e2e_max=10s,error_rate=1%"
absl::StatusOr<std::vector<Objective>> ParseObjectives(std::string_view text);

}  // namespace longhaul::loadgen
