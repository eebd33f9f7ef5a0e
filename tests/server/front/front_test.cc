#include "server/front/front.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/un.h>

#include <cstring>
#include <filesystem>

#include "server/front/frame_writer.h"
#include "server/front/peer_name.h"
#include "server/front/self_connection.h"

namespace longhaul {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;

std::string Settings() {
  std::string settings;
  AppendEmptySettings(settings);
  return settings;
}

std::string OpenStream(uint32_t stream) {
  std::string frame{0, 0, 1, 1, kFlagEndHeaders};
  for (const int shift : {24, 16, 8, 0}) frame.push_back(static_cast<char>(stream >> shift));
  return frame + "\x82";
}

// A front whose server is the test: what it hands over comes out of NextServer().
class FrontTest : public testing::Test {
 protected:
  void Start(const std::string& listen = "127.0.0.1:0") {
    auto front = Front::Start(listen, limits_, 1 << 20, [this](int fd) {
      MutexLock lock(mutex_);
      servers_.emplace_back(fd);
      given_.NotifyAll();
    });
    ASSERT_TRUE(front.ok()) << front.status();
    front_ = *std::move(front);
  }

  // From another address of this host where `from` is one.
  Descriptor Connect(in_addr_t from = INADDR_LOOPBACK) const {
    const sockaddr_storage& address = front_->address();
    Descriptor fd(socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (from != INADDR_LOOPBACK) {
      sockaddr_in source{};
      source.sin_family = AF_INET;
      source.sin_addr.s_addr = htonl(from);
      EXPECT_EQ(bind(fd.get(), reinterpret_cast<const sockaddr*>(&source), sizeof(source)), 0);
    }
    const socklen_t size = address.ss_family == AF_UNIX ? sizeof(sockaddr_un) : sizeof(sockaddr_in);
    EXPECT_EQ(connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), size), 0) << std::strerror(errno);
    return fd;
  }

  Descriptor NextServer() {
    MutexLock lock(mutex_);
    while (servers_.empty()) given_.Wait(mutex_);
    Descriptor server = std::move(servers_.back());
    servers_.pop_back();
    return server;
  }

  // A client that has greeted, and its server, which has read that.
  std::pair<Descriptor, Descriptor> Pair(in_addr_t from = INADDR_LOOPBACK) {
    Descriptor client = Connect(from);
    Write(client, hello_);
    Descriptor server = NextServer();
    EXPECT_EQ(Read(server, hello_.size()), hello_);
    return {std::move(client), std::move(server)};
  }

  static void Write(const Descriptor& fd, std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n < 0 && errno == EAGAIN) {
        pollfd room{.fd = fd.get(), .events = POLLOUT, .revents = 0};
        poll(&room, 1, -1);
        continue;
      }
      ASSERT_GT(n, 0) << std::strerror(errno);
      bytes.remove_prefix(static_cast<size_t>(n));
    }
  }

  // So many bytes, or fewer where it ends.
  static std::string Read(const Descriptor& fd, size_t bytes) {
    std::string got;
    while (got.size() < bytes) {
      char piece[4096];
      pollfd waited{.fd = fd.get(), .events = POLLIN, .revents = 0};
      poll(&waited, 1, -1);
      const ssize_t n = recv(fd.get(), piece, std::min(sizeof(piece), bytes - got.size()), 0);
      if (n < 0 && errno == EAGAIN) continue;
      if (n <= 0) break;
      got.append(piece, static_cast<size_t>(n));
    }
    return got;
  }
  static std::string ReadToEnd(const Descriptor& fd) { return Read(fd, SIZE_MAX); }

  static std::string Peer(const Descriptor& server) {
    sockaddr_un address{};
    socklen_t size = sizeof(address);
    getpeername(server.get(), reinterpret_cast<sockaddr*>(&address), &size);
    return PeerOfGrpc("unix-abstract:" + std::string(address.sun_path + 1, size - offsetof(sockaddr_un, sun_path) - 1));
  }

  const std::string hello_ = std::string(kHttp2Preface) + Settings();
  FrontLimits limits_;
  Mutex mutex_;
  CondVar given_;
  std::vector<Descriptor> servers_;
  std::unique_ptr<Front> front_;
};

TEST_F(FrontTest, PassesBothWaysAndTellsWhoItIs) {
  Start();
  const auto [client, server] = Pair();
  sockaddr_storage own{};
  socklen_t size = sizeof(own);
  getsockname(client.get(), reinterpret_cast<sockaddr*>(&own), &size);
  EXPECT_EQ(Peer(server), PeerOfAddress(own));
  Write(server, Settings());
  EXPECT_EQ(Read(client, Settings().size()), Settings());
  EXPECT_EQ(front_->use().connections, 1);
}

TEST_F(FrontTest, TheServerHearsNothingOfWhoDoesNotGreet) {
  limits_.receive_timeout = milliseconds(100);
  Start();
  const Descriptor client = Connect();
  Write(client, std::string_view(hello_).substr(0, 30));
  EXPECT_THAT(ReadToEnd(client), HasSubstr("stalled"));
  front_->AwaitEnd(Front::Clock::time_point::max());
  EXPECT_TRUE(servers_.empty());
}

TEST_F(FrontTest, WhatTheServerSaidBeforeItClosedArrives) {
  Start();
  auto [client, server] = Pair();
  std::string words = Settings();
  for (int i = 0; i < 1000; ++i) AppendRstStream(1, Http2Error::kNoError, words);
  AppendGoAway(1, Http2Error::kNoError, std::string(10000, 'x'), words);
  Write(server, words);
  server.Reset();
  EXPECT_EQ(ReadToEnd(client), words);
  front_->AwaitEnd(Front::Clock::time_point::max());
  EXPECT_EQ(front_->use().connections, 0);
}

TEST_F(FrontTest, WhatTheClientSaidBeforeItClosedArrives) {
  Start();
  Descriptor client = Connect();
  Write(client, hello_);
  client.Reset();
  EXPECT_EQ(ReadToEnd(NextServer()), hello_);
}

// Until the server has cleared away what a client had begun, it counts, and the client's address gets no more served.
TEST_F(FrontTest, WaitsForTheServerToClearAway) {
  limits_.max_connection_streams = 2000;
  Start();
  auto [client, server] = Pair();
  std::string calls;
  for (uint32_t stream = 1; stream < 2 * 1100; stream += 2) calls += OpenStream(stream);
  Write(client, calls);
  EXPECT_EQ(Read(server, calls.size()), calls);
  client.Reset();
  EXPECT_EQ(ReadToEnd(server), "");
  EXPECT_EQ(front_->use().connections, 1);
  EXPECT_GE(front_->use().ending, 1100);
  const Descriptor second = Connect();
  Write(second, hello_);
  // Who comes later from elsewhere is served before.
  for (int i = 0; i < 3; ++i) {
    const auto [other, other_server] = Pair(INADDR_LOOPBACK + 1);
    sockaddr_in own{};
    socklen_t size = sizeof(own);
    getsockname(other.get(), reinterpret_cast<sockaddr*>(&own), &size);
    EXPECT_EQ(Peer(other_server), "ipv4:127.0.0.2:" + std::to_string(ntohs(own.sin_port)));
  }
  server.Reset();
  const Descriptor second_server = NextServer();
  EXPECT_EQ(Read(second_server, hello_.size()), hello_);
  EXPECT_EQ(front_->use().ending, 0);
}

// A reader that takes nothing holds up who writes to it, and not the front.
TEST_F(FrontTest, HoldsLittleForASlowReader) {
  Start();
  const auto [slow, slow_server] = Pair();
  Write(slow_server, Settings());
  std::string frame;
  AppendGoAway(1, Http2Error::kNoError, std::string(1 << 14, 'x'), frame);
  std::string_view rest = frame;
  size_t taken = 0;
  for (int full = 0; full < 3 && taken < size_t{64} << 20;) {
    const ssize_t n = send(slow_server.get(), rest.data(), rest.size(), MSG_NOSIGNAL);
    if (n > 0) {
      taken += static_cast<size_t>(n);
      rest.remove_prefix(static_cast<size_t>(n));
      if (rest.empty()) rest = frame;
    } else {
      // At the moment, or for good: then it stays so while others come and are served.
      ++full;
      Pair();
    }
  }
  EXPECT_LT(taken, size_t{32} << 20);
}

TEST_F(FrontTest, BoundsConnectionsAndSaysSo) {
  limits_.max_connections = 3;
  limits_.max_connections_per_address = 2;
  Start();
  auto [first, first_server] = Pair();
  const auto second = Pair();
  EXPECT_THAT(ReadToEnd(Connect()), HasSubstr("--max-connections-per-address, 2, are open"));
  EXPECT_EQ(front_->use().refused[static_cast<size_t>(ConnectionRefusal::kMaxConnectionsPerAddress)].value(), 1);
  // One that ends makes room.
  first_server.Reset();
  EXPECT_EQ(ReadToEnd(first), "");
  Pair();
}

TEST_F(FrontTest, BoundsAllConnections) {
  limits_.max_connections = 1;
  limits_.max_connections_per_address = 1;
  Start();
  const Descriptor first = Connect();
  EXPECT_THAT(ReadToEnd(Connect()), HasSubstr("--max-connections, 1, are open"));
  EXPECT_EQ(front_->use().refused[static_cast<size_t>(ConnectionRefusal::kMaxConnections)].value(), 1);
  EXPECT_EQ(front_->use().accepted.value(), 1);
}

TEST_F(FrontTest, ClosesWhoMisbehaves) {
  Start();
  const Descriptor client = Connect();
  Write(client, "GET / HTTP/1.1\r\n\r\n");
  EXPECT_THAT(ReadToEnd(client), HasSubstr("not_http2"));
  front_->AwaitEnd(Front::Clock::time_point::max());
  EXPECT_EQ(front_->use().misbehaved[static_cast<size_t>(Misbehaviour::kNotHttp2)].value(), 1);
}

TEST_F(FrontTest, DropsWhoReadsNothing) {
  limits_.send_timeout = milliseconds(100);
  Start();
  auto [client, server] = Pair();
  std::string frame;
  AppendGoAway(1, Http2Error::kNoError, std::string(1 << 14, 'x'), frame);
  // Until the front has no more to say for the client.
  for (char byte = 0; recv(server.get(), &byte, 1, 0) != 0;) {
    (void)!send(server.get(), frame.data(), frame.size(), MSG_NOSIGNAL);
  }
  server.Reset();
  front_->AwaitEnd(Front::Clock::time_point::max());
  EXPECT_EQ(front_->use().misbehaved[static_cast<size_t>(Misbehaviour::kStalled)].value(), 1);
}

TEST_F(FrontTest, EndsAllAtTheEndOfADrain) {
  Start();
  auto [client, server] = Pair();
  front_->StopListening(Front::Clock::now());
  EXPECT_EQ(ReadToEnd(client), "");
  EXPECT_EQ(ReadToEnd(server), "");
  server.Reset();
  front_->AwaitEnd(Front::Clock::time_point::max());
}

TEST_F(FrontTest, TakesNobodyAfterItWasToldTo) {
  Start();
  const auto [client, server] = Pair();
  const Descriptor silent = Connect();
  while (front_->use().connections < 2) std::this_thread::yield();
  front_->StopListening(Front::Clock::time_point::max());
  EXPECT_EQ(ReadToEnd(silent), "");
  const Descriptor late(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_NE(connect(late.get(), reinterpret_cast<const sockaddr*>(&front_->address()), sizeof(sockaddr_in)), 0);
  // Who is there goes on.
  Write(client, Settings());
  EXPECT_EQ(Read(server, Settings().size()), Settings());
}

TEST_F(FrontTest, ListensOnAUnixSocketAndReplacesADeadOne) {
  const std::string path = testing::TempDir() + "front_test.sock";
  Start("unix:" + path);
  const auto pair = Pair();
  EXPECT_EQ(Peer(pair.second), "unix:");
  EXPECT_FALSE(Front::Start("unix:" + path, limits_, 1, [](int) {}).ok());
  front_.reset();
  EXPECT_FALSE(std::filesystem::exists(path));
  {
    // A server that was killed leaves its socket behind.
    const Descriptor dead(socket(AF_UNIX, SOCK_STREAM, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof(address.sun_path) - 1);
    ASSERT_EQ(bind(dead.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  }
  Start("unix:" + path);
  Pair();
}

TEST_F(FrontTest, TheServerOfAUnixSocketConnectsToItself) {
  Start("unix:" + testing::TempDir() + "self_test.sock");
  std::thread server([this] { Write(NextServer(), Settings()); });
  const absl::Status status = ConnectToServer(front_->address(), seconds(60));
  EXPECT_TRUE(status.ok()) << status;
  server.join();
}

TEST_F(FrontTest, AnAddressThatCannotBeBoundIsAnError) {
  Start();
  const std::string taken = "127.0.0.1:" + std::to_string(front_->port());
  for (const std::string& address : {taken, std::string("192.0.2.1:0"), std::string("no-such-host.invalid:0")}) {
    EXPECT_EQ(Front::Start(address, limits_, 1, [](int) {}).status().code(), absl::StatusCode::kUnavailable) << address;
  }
}

// Without a descriptor it refuses whom it cannot serve, and serves again when there are some.
TEST_F(FrontTest, SurvivesALackOfDescriptors) {
  Start();
  std::vector<Descriptor> clients;
  for (int i = 0; i < 20; ++i) clients.emplace_back(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int highest = clients.back().get();
  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  rlimit few = before;
  few.rlim_cur = static_cast<rlim_t>(highest) + 1;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
  for (const Descriptor& client : clients) {
    ASSERT_EQ(connect(client.get(), reinterpret_cast<const sockaddr*>(&front_->address()), sizeof(sockaddr_in)), 0);
  }
  for (const Descriptor& client : clients) EXPECT_THAT(ReadToEnd(client), HasSubstr("no descriptor is left"));
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(front_->use().refused[static_cast<size_t>(ConnectionRefusal::kNoDescriptor)].value(), 20);
  Pair();
}

TEST_F(FrontTest, TheServerConnectsToItself) {
  Start();
  const std::thread server([this] { Write(NextServer(), Settings()); });
  EXPECT_TRUE(ConnectToServer(front_->address(), seconds(60)).ok());
  const_cast<std::thread&>(server).join();
  // Taken, but nobody speaks.
  EXPECT_THAT(std::string(ConnectToServer(front_->address(), milliseconds(20)).message()), HasSubstr("no frame came"));
  const sockaddr_storage address = front_->address();
  front_.reset();
  EXPECT_THAT(std::string(ConnectToServer(address, seconds(1)).message()), HasSubstr("refused"));
}

TEST_F(FrontTest, TwoFailuresInARowAreAFailure) {
  Start();
  const sockaddr_storage address = front_->address();
  front_.reset();
  const SelfConnection self(address, milliseconds(1), milliseconds(1));
  while (self.status().ok()) std::this_thread::yield();
  EXPECT_THAT(std::string(self.status().message()), HasSubstr("connect"));
}

}  // namespace
}  // namespace longhaul
