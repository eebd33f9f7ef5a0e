#include "server/metrics_endpoint.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <vector>

#include "server/metric_family.h"

namespace longhaul {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class OneGauge : public prometheus::Collectable {
 public:
  MetricFamilies Collect() const override {
    MetricFamilies families;
    FamilyWriter(families, "one", "A gauge.", prometheus::MetricType::Gauge).Gauge({}, 1);
    return families;
  }
};
constexpr char kText[] = "# HELP one A gauge.\n# TYPE one gauge\none 1\n";

class MetricsEndpointTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto endpoint = MetricsEndpoint::Start("127.0.0.1:0", metrics_, [this] { return state_.load(); });
    ASSERT_TRUE(endpoint.ok()) << endpoint.status();
    endpoint_ = *std::move(endpoint);
    ASSERT_GT(endpoint_->port(), 0);
  }

  // The whole answer to a request as it stands on the wire.
  std::string Send(const std::string& request) const {
    const int socket_fd = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(endpoint_->port()));
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    EXPECT_EQ(connect(socket_fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(send(socket_fd, request.data(), request.size(), MSG_NOSIGNAL), std::ssize(request));
    std::string answer;
    char buffer[4096];
    for (ssize_t n = 0; (n = recv(socket_fd, buffer, sizeof(buffer), 0)) > 0;)
      answer.append(buffer, static_cast<size_t>(n));
    close(socket_fd);
    return answer;
  }
  std::string Ask(const std::string& method, const std::string& path) const {
    return Send(method + " " + path + " HTTP/1.1\r\nHost: here\r\n\r\n");
  }

  OneGauge metrics_;
  std::atomic<ServerState> state_{ServerState::kReady};
  std::unique_ptr<MetricsEndpoint> endpoint_;
};

TEST_F(MetricsEndpointTest, GivesTheMetrics) {
  const std::string answer = Ask("GET", "/metrics");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(answer, HasSubstr("Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
  EXPECT_THAT(answer, EndsWith("\r\n\r\n" + std::string(kText)));
}

TEST_F(MetricsEndpointTest, HeadIsGetWithoutTheBody) {
  const std::string answer = Ask("HEAD", "/metrics");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(answer, HasSubstr("Content-Length: " + std::to_string(sizeof(kText) - 1) + "\r\n"));
  EXPECT_THAT(answer, EndsWith("\r\n\r\n"));
  EXPECT_THAT(Ask("HEAD", "/healthz"), StartsWith("HTTP/1.1 200 OK\r\n"));
}

TEST_F(MetricsEndpointTest, HealthFollowsTheState) {
  EXPECT_THAT(Ask("GET", "/healthz"), StartsWith("HTTP/1.1 200 OK\r\n"));
  for (const ServerState state : {ServerState::kLoading, ServerState::kDraining}) {
    state_ = state;
    const std::string answer = Ask("GET", "/healthz");
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 503 "));
    EXPECT_THAT(answer, HasSubstr(kServerStateNames[static_cast<size_t>(state)]));
    EXPECT_THAT(Ask("GET", "/metrics"), StartsWith("HTTP/1.1 200 OK\r\n"));
  }
}

TEST_F(MetricsEndpointTest, NothingElseIsThere) {
  for (const char* path : {"/", "/metrics/", "/metricsx", "/healthz/x", "/..", "/%2e%2e/etc/passwd"}) {
    EXPECT_THAT(Ask("GET", path), Not(StartsWith("HTTP/1.1 200"))) << path;
  }
  for (const char* method : {"POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND"}) {
    EXPECT_THAT(Ask(method, "/metrics"), StartsWith("HTTP/1.1 4")) << method;
  }
  EXPECT_THAT(Send("nonsense\r\n\r\n"), Not(HasSubstr("200 OK")));
  EXPECT_THAT(Ask("GET", "/metrics?x=1"), StartsWith("HTTP/1.1 200 OK\r\n"));
}

TEST_F(MetricsEndpointTest, ManyAskAtOnce) {
  std::vector<std::thread> askers;
  for (int i = 0; i < 8; ++i) {
    askers.emplace_back([this] {
      for (int j = 0; j < 20; ++j) EXPECT_THAT(Ask("GET", "/metrics"), EndsWith(kText));
    });
  }
  for (std::thread& asker : askers) asker.join();
}

TEST_F(MetricsEndpointTest, AnAddressThatCannotBeBoundIsNamed) {
  for (const std::string& address : {"127.0.0.1:" + std::to_string(endpoint_->port()), std::string("192.0.2.1:9464")}) {
    const auto second = MetricsEndpoint::Start(address, metrics_, [] { return ServerState::kReady; });
    ASSERT_FALSE(second.ok()) << address;
    EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
    EXPECT_THAT(std::string(second.status().message()), HasSubstr("--metrics-listen"));
    EXPECT_THAT(std::string(second.status().message()), HasSubstr(address));
  }
}

}  // namespace
}  // namespace longhaul
