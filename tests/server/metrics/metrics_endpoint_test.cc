#include "server/metrics/metrics_endpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "server/metrics/metric_family.h"
#include "tests/server/metrics/http_client.h"

namespace longhaul {
namespace {

using ::testing::AllOf;
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
    auto endpoint = MetricsEndpoint::Start("127.0.0.1:0", metrics_, [this] {
      const char* const sick = sick_;
      return sick == nullptr ? absl::OkStatus() : absl::UnavailableError(sick);
    });
    ASSERT_TRUE(endpoint.ok()) << endpoint.status();
    endpoint_ = *std::move(endpoint);
    ASSERT_GT(endpoint_->port(), 0);
  }

  std::string Send(const std::string& request) const { return AskServer(endpoint_->port(), request); }
  std::string Ask(const std::string& method, const std::string& path) const { return Send(Request(method, path)); }

  OneGauge metrics_;
  std::atomic<const char*> sick_{nullptr};
  std::unique_ptr<MetricsEndpoint> endpoint_;
};

TEST_F(MetricsEndpointTest, GivesTheMetrics) {
  const std::string answer = Ask("GET", "/metrics");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(answer, HasSubstr("Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
  EXPECT_THAT(answer, HasSubstr("Content-Length: " + std::to_string(sizeof(kText) - 1) + "\r\n"));
  EXPECT_THAT(answer, HasSubstr("Cache-Control: no-store\r\n"));
  EXPECT_THAT(answer, HasSubstr("Connection: close\r\n"));
  EXPECT_THAT(answer, EndsWith("\r\n\r\n" + std::string(kText)));
}

TEST_F(MetricsEndpointTest, HeadIsGetWithoutTheBody) {
  const std::string answer = Ask("HEAD", "/metrics");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(answer, HasSubstr("Content-Length: " + std::to_string(sizeof(kText) - 1) + "\r\n"));
  EXPECT_THAT(answer, EndsWith("\r\n\r\n"));
  EXPECT_THAT(Ask("HEAD", "/healthz"), StartsWith("HTTP/1.1 200 OK\r\n"));
}

TEST_F(MetricsEndpointTest, HealthSaysWhyThereIsNone) {
  EXPECT_THAT(Ask("GET", "/healthz"), AllOf(StartsWith("HTTP/1.1 200 OK\r\n"), EndsWith("\r\n\r\nready\n")));
  for (const std::string sick : {"loading", "draining", "nobody can connect"}) {
    sick_ = sick.c_str();
    EXPECT_THAT(Ask("GET", "/healthz"), AllOf(StartsWith("HTTP/1.1 503 "), EndsWith("\r\n\r\n" + sick + "\n")));
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
  EXPECT_THAT(Ask("POST", "/metrics"), HasSubstr("Allow: GET, HEAD\r\n"));
  EXPECT_THAT(Send("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"), StartsWith("HTTP/1.1 405 "));
  EXPECT_THAT(Send("GET /metrics HTTP/1.1\r\nHost: " + std::string(100'000, 'x')), StartsWith("HTTP/1.1 4"));
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
    const auto second = MetricsEndpoint::Start(address, metrics_, [] { return absl::OkStatus(); });
    ASSERT_FALSE(second.ok()) << address;
    EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
    EXPECT_THAT(std::string(second.status().message()), HasSubstr("--metrics-listen"));
    EXPECT_THAT(std::string(second.status().message()), HasSubstr(address));
  }
}

}  // namespace
}  // namespace longhaul
