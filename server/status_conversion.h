#pragma once

#include <grpcpp/support/status.h>

#include "absl/status/status.h"

namespace longhaul {

// The one place where a status of the engine becomes one of the wire: the codes have the same numbers.
grpc::Status ToGrpc(const absl::Status& status);

}  // namespace longhaul
