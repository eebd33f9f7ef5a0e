#include "server/metrics/metrics_endpoint.h"

#include "absl/strings/str_cat.h"
#include "engine/base/quoted.h"
#include "server/metrics/metrics_text.h"

namespace longhaul {
namespace {

HttpAnswer AnswerTo(const std::string& path, const prometheus::Collectable& metrics,
                    const MetricsEndpoint::Health& health) {
  constexpr char kPlain[] = "text/plain; charset=utf-8";
  if (path == "/metrics") {
    return {.content_type = "text/plain; version=0.0.4; charset=utf-8", .body = MetricsText(metrics.Collect())};
  }
  if (path == "/healthz") {
    const absl::Status status = health();
    if (status.ok()) return {.content_type = kPlain, .body = "ready\n"};
    return {
        .status = MHD_HTTP_SERVICE_UNAVAILABLE, .content_type = kPlain, .body = absl::StrCat(status.message(), "\n")};
  }
  return {.status = MHD_HTTP_NOT_FOUND, .content_type = kPlain, .body = "/metrics and /healthz are here\n"};
}

}  // namespace

absl::StatusOr<std::unique_ptr<MetricsEndpoint>> MetricsEndpoint::Start(const std::string& address,
                                                                        const prometheus::Collectable& metrics,
                                                                        Health health) {
  const auto answer = [&metrics, health = std::move(health)](const std::string& path) {
    return AnswerTo(path, metrics, health);
  };
  absl::StatusOr<std::unique_ptr<HttpServer>> server = HttpServer::Start(address, answer);
  if (!server.ok()) {
    return absl::UnavailableError(
        absl::StrCat("--metrics-listen: cannot listen on ", Quoted(address),
                     ": it must be HOST:PORT, an address of this host and a port that is not in use (",
                     server.status().message(), ")"));
  }
  return std::unique_ptr<MetricsEndpoint>(new MetricsEndpoint(*std::move(server)));
}

}  // namespace longhaul
