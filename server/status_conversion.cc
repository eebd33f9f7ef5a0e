#include "server/status_conversion.h"

#include <string>

namespace longhaul {

grpc::Status ToGrpc(const absl::Status& status) {
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), std::string(status.message()));
}

}  // namespace longhaul
