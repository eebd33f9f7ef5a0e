#pragma once

#include <grpcpp/support/status.h>

#include "absl/status/status.h"
#include "engine/base/overload.h"

namespace longhaul {

// The one place where a status of the engine becomes one of the wire: the codes have the same numbers. With details of
// google.rpc: BadRequest for what names a field (see FieldError), RetryInfo for what says when to try again, and
// ErrorInfo for an Overload.
grpc::Status ToGrpc(const absl::Status& status);

// What every service answers before it has an engine.
inline absl::Status Loading() {
  return TryAgainError("the model is still being loaded");
}

}  // namespace longhaul
