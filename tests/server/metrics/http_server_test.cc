#include "server/metrics/http_server.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <atomic>
#include <future>
#include <stdexcept>
#include <vector>

#include "tests/server/metrics/http_client.h"

namespace longhaul {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

HttpAnswer Text(std::string body) {
  return {.content_type = "text/plain", .body = std::move(body)};
}

class HttpServerTest : public ::testing::Test {
 protected:
  void Start(HttpServer::Handler handler, HttpLimits limits = {}) {
    auto server = HttpServer::Start("127.0.0.1:0", std::move(handler), limits);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }

  std::string Ask(const std::string& path) const { return AskServer(server_->port(), Request("GET", path)); }

  std::vector<HttpClient> HalfOpen(int n) const {
    std::vector<HttpClient> clients;
    for (int i = 0; i < n; ++i) {
      clients.emplace_back(server_->port());
      if (i % 2 == 0) clients.back().Send("GET / HTTP/1.1\r\nHost: ");
    }
    return clients;
  }

  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpServerTest, AnswersByPath) {
  Start([](const std::string& path) { return Text("this is " + path); });
  EXPECT_THAT(Ask("/a%20b?c=d"), EndsWith("\r\n\r\nthis is /a b"));
  EXPECT_THAT(AskServer(server_->port(), "GET /old HTTP/1.0\r\n\r\n"), EndsWith("\r\n\r\nthis is /old"));
}

TEST_F(HttpServerTest, TheOldestOfTooManyConnectionsAreClosed) {
  Start([](const std::string&) { return Text("yes"); }, {.connections = 8});
  const std::vector<HttpClient> clients = HalfOpen(200);
  EXPECT_THAT(Ask("/"), EndsWith("yes"));
  for (int i = 0; i < 192; ++i) EXPECT_EQ(clients[static_cast<size_t>(i)].Read(), "") << i;
  // The last seven and the one that asked fit.
  for (int i = 193; i < 200; ++i) EXPECT_FALSE(clients[static_cast<size_t>(i)].HasAnswerWithin(0)) << i;
  clients[198].Send("x\r\n\r\n");
  EXPECT_THAT(clients[198].Read(), EndsWith("yes"));
}

TEST_F(HttpServerTest, ARequestThatNeverEndsIsClosed) {
  Start([](const std::string&) { return Text("yes"); }, {.time = std::chrono::milliseconds(50)});
  const HttpClient silent(server_->port()), slow(server_->port());
  slow.Send("GET / HTTP/1.1\r\nX: ");
  while (slow.Send("y") && !slow.HasAnswerWithin(1)) continue;
  EXPECT_EQ(silent.Read(), "");
}

TEST_F(HttpServerTest, AnswersThatNobodyReadsAreBounded) {
  const std::string body(32 << 20, 'x');  // more than any socket takes
  Start([&](const std::string&) { return Text(body); }, {.unread_answers = 2});
  std::vector<HttpClient> clients;
  for (int i = 0; i < 5; ++i) {
    clients.emplace_back(server_->port());
    clients.back().Send(Request("GET", "/"));
    clients.back().WaitForAnswer();
  }
  EXPECT_LT(clients[0].Read().size(), body.size());
  EXPECT_LT(clients[1].Read().size(), body.size());
  EXPECT_GT(clients[4].Read().size(), body.size());
}

TEST_F(HttpServerTest, WhatIsAskedForAtATimeIsMadeOnce) {
  std::promise<void> begun, go_on;
  std::atomic<int> made = 0;
  Start([&](const std::string&) {
    if (++made == 1) {
      begun.set_value();
      go_on.get_future().wait();
    }
    return Text("answer " + std::to_string(made));
  });
  const HttpClient first(server_->port());
  first.Send(Request("GET", "/"));
  begun.get_future().wait();
  std::vector<HttpClient> others;
  for (int i = 0; i < 20; ++i) {
    others.emplace_back(server_->port());
    others.back().Send(Request("GET", "/"));
  }
  go_on.set_value();
  EXPECT_THAT(first.Read(), EndsWith("answer 1"));
  for (const HttpClient& other : others) EXPECT_THAT(other.Read(), EndsWith("answer 2"));
  EXPECT_THAT(Ask("/"), EndsWith("answer 3"));
}

TEST_F(HttpServerTest, AnExceptionEndsTheRequestAlone) {
  Start([](const std::string& path) { return path == "/bad" ? throw std::bad_alloc() : Text("good"); });
  EXPECT_EQ(Ask("/bad"), "");
  EXPECT_THAT(Ask("/"), EndsWith("good"));
}

// Takes all descriptors that the process may have.
class NoDescriptors {
 public:
  NoDescriptors() {
    getrlimit(RLIMIT_NOFILE, &before_);
    rlimit fewer = before_;
    fewer.rlim_cur = 100;
    setrlimit(RLIMIT_NOFILE, &fewer);
    for (int fd = 0; (fd = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0;) taken_.push_back(fd);
    EXPECT_EQ(errno, EMFILE);
  }
  ~NoDescriptors() {
    for (const int fd : taken_) close(fd);
    setrlimit(RLIMIT_NOFILE, &before_);
  }

 private:
  rlimit before_{};
  std::vector<int> taken_;
};

TEST_F(HttpServerTest, AnswersWhereTheProcessHasNoDescriptorsLeft) {
  Start([](const std::string&) { return Text("yes"); });
  EXPECT_THAT(Ask("/"), EndsWith("yes"));
  const std::vector<HttpClient> clients(10), silent(10);
  {
    const NoDescriptors none;
    for (size_t i = 0; i < clients.size(); ++i) {
      // One that asks nothing has the last descriptor until another one comes.
      silent[i].Connect(server_->port());
      clients[i].Connect(server_->port());
      clients[i].Send(Request("GET", "/"));
      EXPECT_THAT(clients[i].Read(), EndsWith("yes"));
    }
  }
  EXPECT_THAT(Ask("/"), EndsWith("yes"));
}

TEST_F(HttpServerTest, EndsWhileClientsAreConnected) {
  const std::string body(32 << 20, 'x');
  Start([&](const std::string&) { return Text(body); });
  const std::vector<HttpClient> clients = HalfOpen(20);
  const HttpClient reading(server_->port());
  reading.Send(Request("GET", "/"));
  reading.WaitForAnswer();
  server_.reset();
  EXPECT_LT(reading.Read().size(), body.size());
}

TEST(HttpServer, NamesAndBothFamiliesAreAddresses) {
  const auto answer = [](const std::string&) { return Text("yes"); };
  for (const char* address : {"localhost:0", "0.0.0.0:0", "[::]:0", "[::1]:0"}) {
    const auto server = HttpServer::Start(address, answer);
    ASSERT_TRUE(server.ok()) << address << ": " << server.status();
    EXPECT_GT((*server)->port(), 0);
    if (std::string_view(address) != "[::1]:0") {
      EXPECT_THAT(AskServer((*server)->port(), Request("GET", "/")), EndsWith("yes")) << address;
    }
    const auto second = HttpServer::Start("127.0.0.1:" + std::to_string((*server)->port()), answer);
    EXPECT_EQ(second.ok(), std::string_view(address) == "[::1]:0") << address;
  }
  for (const char* address : {"no.such.host.invalid:0", "192.0.2.1:9464", "nonsense", ""}) {
    EXPECT_FALSE(HttpServer::Start(address, answer).ok()) << address;
  }
}

}  // namespace
}  // namespace longhaul
