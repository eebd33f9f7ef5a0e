#pragma once

#include <prometheus/collectable.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/metrics/http_server.h"

namespace longhaul {

// Serves GET and HEAD over HTTP: /metrics, in Prometheus' text format, and /healthz, 200 when the server is ready and
// 503 before and after that. Anything else is 404.
class MetricsEndpoint {
 public:
  // OK, or why requests are not answered, in a word or a sentence. Any thread.
  using Health = std::function<absl::Status()>;

  // Listens on `address` ("127.0.0.1:9464"; port 0 takes a free one) until it is destroyed. `metrics` and what `health`
  // asks outlive it. UNAVAILABLE, naming the flag, when the address cannot be bound.
  static absl::StatusOr<std::unique_ptr<MetricsEndpoint>> Start(const std::string& address,
                                                                const prometheus::Collectable& metrics, Health health);

  int port() const { return server_->port(); }

 private:
  explicit MetricsEndpoint(std::unique_ptr<HttpServer> server) : server_(std::move(server)) {}

  const std::unique_ptr<HttpServer> server_;
};

}  // namespace longhaul
