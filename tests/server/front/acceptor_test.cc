#include "server/sockets/acceptor.h"

#include <gtest/gtest.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/un.h>

#include <cstring>
#include <filesystem>
#include <optional>
#include <vector>

namespace longhaul {
namespace {

using TimePoint = Acceptor::TimePoint;

socklen_t SizeOf(const sockaddr_storage& address) {
  return address.ss_family == AF_UNIX ? sizeof(sockaddr_un) : sizeof(sockaddr_in);
}

class AcceptorTest : public testing::Test {
 protected:
  void Start(const std::string& address = "127.0.0.1:0") {
    absl::StatusOr<ListeningSockets> listening = Listen(address);
    ASSERT_TRUE(listening.ok()) << listening.status();
    acceptor_.emplace(*std::move(listening), epoll_.get());
  }
  ~AcceptorTest() override { setrlimit(RLIMIT_NOFILE, &before_); }

  // Clients that connect when there is no descriptor any more.
  void Prepare(int n) {
    for (int i = 0; i < n; ++i) prepared_.emplace_back(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  }
  void NoDescriptors() {
    rlimit none = before_;
    const Descriptor first_free(dup(epoll_.get()));
    none.rlim_cur = static_cast<rlim_t>(first_free.get());
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  }
  void Connect(int n) {
    for (int i = 0; i < n; ++i) {
      const sockaddr_storage& address = acceptor_->address();
      ASSERT_EQ(connect(prepared_[connected_++].get(), reinterpret_cast<const sockaddr*>(&address), SizeOf(address)),
                0);
    }
  }

  // Whether epoll tells of somebody.
  bool SomebodyIsTold() {
    epoll_event event{};
    const bool told = epoll_wait(epoll_.get(), &event, 1, 0) == 1;
    EXPECT_TRUE(!told || event.data.ptr == &*acceptor_);
    return told;
  }
  void Accept(bool room = false) {
    acceptor_->Accept(
        now_, [&](Acceptor::Client client) { taken_.push_back(std::move(client)); },
        [&] {
          if (!room || taken_.empty()) return false;
          taken_.erase(taken_.begin());
          return true;
        });
  }

  const Descriptor epoll_{epoll_create1(EPOLL_CLOEXEC)};
  rlimit before_ = [] {
    rlimit limit{};
    getrlimit(RLIMIT_NOFILE, &limit);
    return limit;
  }();
  std::optional<Acceptor> acceptor_;
  std::vector<Descriptor> prepared_;
  size_t connected_ = 0;
  std::vector<Acceptor::Client> taken_;
  TimePoint now_;
};

TEST_F(AcceptorTest, TakesWhoWaitsAndSaysWhoItIs) {
  Start();
  EXPECT_FALSE(SomebodyIsTold());
  Prepare(2);
  Connect(2);
  EXPECT_TRUE(SomebodyIsTold());
  Accept();
  ASSERT_EQ(taken_.size(), 2);
  EXPECT_FALSE(SomebodyIsTold());
  for (size_t i = 0; i < 2; ++i) {
    sockaddr_in own{};
    socklen_t size = sizeof(own);
    getsockname(prepared_[i].get(), reinterpret_cast<sockaddr*>(&own), &size);
    EXPECT_EQ(std::memcmp(&own, &taken_[i].address, sizeof(own)), 0);
    EXPECT_FALSE(taken_[i].by_spare);
  }
}

TEST_F(AcceptorTest, OthersHaveATurn) {
  Start();
  Prepare(100);
  Connect(100);
  Accept();
  EXPECT_LT(taken_.size(), 80);
  Accept();
  Accept();
  EXPECT_EQ(taken_.size(), 100);
}

TEST_F(AcceptorTest, TakesByTheSpareDescriptorThenRests) {
  Start();
  Prepare(3);
  NoDescriptors();
  Connect(2);
  Accept();
  ASSERT_EQ(taken_.size(), 1);
  EXPECT_TRUE(taken_[0].by_spare);
  // One waits, and is not told of any more.
  EXPECT_TRUE(acceptor_->rests());
  EXPECT_FALSE(SomebodyIsTold());
  Accept();
  EXPECT_EQ(taken_.size(), 1);
  now_ += Acceptor::kRest / 2;
  acceptor_->Turn(now_);
  EXPECT_TRUE(acceptor_->rests());
  now_ += Acceptor::kRest / 2;
  taken_.clear();
  acceptor_->Turn(now_);
  EXPECT_FALSE(acceptor_->rests());
  EXPECT_TRUE(SomebodyIsTold());
  Accept();
  ASSERT_EQ(taken_.size(), 1);
  EXPECT_TRUE(taken_[0].by_spare);
}

TEST_F(AcceptorTest, WhoIsClosedAtOnceGivesTheSpareBack) {
  Start();
  Prepare(20);
  NoDescriptors();
  Connect(20);
  int by_spare = 0;
  acceptor_->Accept(
      now_, [&](Acceptor::Client client) { by_spare += client.by_spare; }, [] { return false; });
  EXPECT_EQ(by_spare, 20);
  EXPECT_FALSE(acceptor_->rests());
}

TEST_F(AcceptorTest, RoomCanBeMade) {
  Start();
  Prepare(5);
  NoDescriptors();
  Connect(5);
  Accept(/*room=*/true);
  EXPECT_EQ(taken_.size(), 1);  // the others were there and made room
  EXPECT_FALSE(acceptor_->rests());
  char byte = 0;
  EXPECT_EQ(recv(prepared_[3].get(), &byte, 1, 0), 0);
  EXPECT_EQ(recv(prepared_[4].get(), &byte, 1, MSG_DONTWAIT), -1);
}

// Where nobody waits, nothing is missing.
TEST_F(AcceptorTest, NoDescriptorAndNobodyThere) {
  Start();
  NoDescriptors();
  Accept();
  EXPECT_FALSE(acceptor_->rests());
}

TEST_F(AcceptorTest, TakesNobodyOnceClosed) {
  Start();
  Prepare(2);
  Connect(1);
  acceptor_->Close();
  EXPECT_FALSE(SomebodyIsTold());
  Accept();
  EXPECT_TRUE(taken_.empty());
  const sockaddr_storage& address = acceptor_->address();
  EXPECT_NE(connect(prepared_[1].get(), reinterpret_cast<const sockaddr*>(&address), SizeOf(address)), 0);
}

TEST_F(AcceptorTest, TheFileOfAUnixSocketGoesWithIt) {
  const std::string path = testing::TempDir() + "acceptor_test.sock";
  Start("unix:" + path);
  EXPECT_TRUE(std::filesystem::exists(path));
  acceptor_->Close();
  EXPECT_FALSE(std::filesystem::exists(path));
  // Another server's stays.
  const absl::StatusOr<ListeningSockets> another = Listen("unix:" + path);
  ASSERT_TRUE(another.ok());
  acceptor_.reset();
  EXPECT_TRUE(std::filesystem::exists(path));
  std::filesystem::remove(path);
}

TEST(ListenTest, ListensOnAllAddressesOfAHost) {
  const absl::StatusOr<ListeningSockets> listening = Listen("localhost:0");
  ASSERT_TRUE(listening.ok()) << listening.status();
  const std::string port = std::to_string(listening->port);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  ASSERT_EQ(getaddrinfo("localhost", port.c_str(), &hints, &found), 0);
  for (const addrinfo* each = found; each != nullptr; each = each->ai_next) {
    const Descriptor client(socket(each->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(connect(client.get(), each->ai_addr, each->ai_addrlen), 0) << std::strerror(errno);
  }
  freeaddrinfo(found);
}

}  // namespace
}  // namespace longhaul
