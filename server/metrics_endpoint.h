#pragma once

#include <prometheus/collectable.h>

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/server_state.h"

namespace longhaul {

// Serves GET and HEAD over HTTP: /metrics, in Prometheus' text format, and /healthz, 200 when the server is ready and
// 503 before and after that. Anything else is 404.
class MetricsEndpoint {
 public:
  // Listens on `address` ("127.0.0.1:9464"; port 0 takes a free one) until it is destroyed. `metrics` and what `state`
  // asks outlive it. UNAVAILABLE, naming the flag, when the address cannot be bound.
  static absl::StatusOr<std::unique_ptr<MetricsEndpoint>> Start(const std::string& address,
                                                                const prometheus::Collectable& metrics,
                                                                std::function<ServerState()> state);
  virtual ~MetricsEndpoint() = default;

  virtual int port() const = 0;
};

}  // namespace longhaul
