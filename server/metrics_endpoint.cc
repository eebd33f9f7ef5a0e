#include "server/metrics_endpoint.h"

#include <CivetServer.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <future>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/log.h"
#include "engine/base/quoted.h"
#include "server/metrics_text.h"

namespace longhaul {
namespace {

class Handler : public CivetHandler {
 public:
  Handler(const prometheus::Collectable& metrics, std::function<ServerState()> state)
      : metrics_(metrics), state_(std::move(state)) {}

  bool handleGet(CivetServer*, mg_connection* connection) override { return Answer(connection, /*with_body=*/true); }
  bool handleHead(CivetServer*, mg_connection* connection) override { return Answer(connection, /*with_body=*/false); }

 private:
  bool Answer(mg_connection* connection, bool with_body) const {
    const std::string path = mg_get_request_info(connection)->local_uri;
    const char* status = "200 OK";
    const char* type = "text/plain; charset=utf-8";
    std::string body;
    if (path == "/metrics") {
      type = "text/plain; version=0.0.4; charset=utf-8";
      body = MetricsText(metrics_.Collect());
    } else if (path == "/healthz") {
      const ServerState state = state_();
      if (state != ServerState::kReady) status = "503 Service Unavailable";
      body = absl::StrCat(kServerStateNames[static_cast<size_t>(state)], "\n");
    } else {
      status = "404 Not Found";
      body = "/metrics and /healthz are here\n";
    }
    const std::string head =
        absl::StrCat("HTTP/1.1 ", status, "\r\nContent-Type: ", type, "\r\nContent-Length: ", body.size(),
                     "\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n");
    mg_write(connection, head.data(), head.size());
    if (with_body) mg_write(connection, body.data(), body.size());
    return true;
  }

  const prometheus::Collectable& metrics_;
  const std::function<ServerState()> state_;
};

// Connects to an address and goes away again.
void Touch(const std::string& host, int port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found) != 0) return;
  const int socket_fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (socket_fd >= 0) {
    (void)connect(socket_fd, found->ai_addr, found->ai_addrlen);
    close(socket_fd);
  }
  freeaddrinfo(found);
}

class CivetEndpoint : public MetricsEndpoint {
 public:
  // Throws CivetException when the address cannot be bound.
  CivetEndpoint(const std::string& address, const prometheus::Collectable& metrics, std::function<ServerState()> state)
      : host_(address.substr(0, address.rfind(':'))),
        handler_(metrics, std::move(state)),
        // No client can hold one of the threads for longer than the timeout: connections are not kept.
        server_(std::vector<std::string>{"listening_ports", address, "num_threads", "4", "request_timeout_ms", "10000",
                                         "enable_keep_alive", "no"},
                Callbacks()) {
    server_.addHandler("**", handler_);
    if (host_.size() > 2 && host_.front() == '[') host_ = host_.substr(1, host_.size() - 2);
  }
  // Civetweb looks whether to stop every 2 seconds, or when somebody connects.
  ~CivetEndpoint() override {
    const int own_port = port();
    std::future<void> stopped = std::async(std::launch::async, [this] { server_.close(); });
    while (stopped.wait_for(std::chrono::milliseconds(5)) != std::future_status::ready) Touch(host_, own_port);
  }

  int port() const override {
    const std::vector<int> ports = const_cast<CivetServer&>(server_).getListeningPorts();
    return ports.empty() ? 0 : ports.front();
  }

 private:
  static const CivetCallbacks* Callbacks() {
    static const CivetCallbacks callbacks = [] {
      CivetCallbacks made;
      made.log_message = [](const mg_connection*, const char* message) {
        LogDebug("metrics endpoint: ", message);
        return 1;
      };
      return made;
    }();
    return &callbacks;
  }

  std::string host_;
  Handler handler_;
  CivetServer server_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<MetricsEndpoint>> MetricsEndpoint::Start(const std::string& address,
                                                                        const prometheus::Collectable& metrics,
                                                                        std::function<ServerState()> state) {
  try {
    return std::make_unique<CivetEndpoint>(address, metrics, std::move(state));
  } catch (const CivetException&) {
    return absl::UnavailableError(
        absl::StrCat("--metrics-listen: cannot listen on ", Quoted(address),
                     ": it must be HOST:PORT, an address of this host and a port that is not in use"));
  }
}

}  // namespace longhaul
