#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace longhaul {

// Serves grpc.health.v1 alone, on a port and a thread of its own that share nothing with gRPC: it answers while the
// server of the requests is flooded, and however busy the engine's threads are. The port has bounds of its own; where
// all its connections are taken, a new one replaces one that has not asked for anything, or been silent for longest.
class HealthEndpoint {
 public:
  // Listens on `address` ("127.0.0.1:50052"; port 0 takes a free one) until it is destroyed. Says NOT_SERVING of
  // `services` until SetServing, of others that it does not know them. UNAVAILABLE, naming the flag, when the address
  // cannot be bound.
  static absl::StatusOr<std::unique_ptr<HealthEndpoint>> Start(const std::string& address,
                                                               std::vector<std::string> services);
  virtual ~HealthEndpoint() = default;

  virtual int port() const = 0;

  // Changes what is answered; who watches is told. Any thread.
  virtual void SetServing(bool serving) = 0;
};

}  // namespace longhaul
