#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "longhaul/v1/inference.pb.h"

namespace longhaul::loadgen {

// A position mode and which share of the requests asks for it.
struct PositionShare {
  v1::PositionMode position;
  double share = 1;  // of all, so that they sum to 1
};

// "none@0.5,rerope:window=64,log-n=0@0.5": modes as ParsePositions reads them, each with a weight after '@' (1 if not
// given). Weights are scaled to a sum of 1.
absl::StatusOr<std::vector<PositionShare>> ParsePositionShares(std::string_view text);

}  // namespace longhaul::loadgen
