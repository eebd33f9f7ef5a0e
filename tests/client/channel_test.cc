#include "client/channel.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

namespace longhaul {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

TEST(NormalTargetTest, AHostAloneGetsTheDefaultPort) {
  const std::pair<const char*, const char*> targets[] = {{"localhost", "localhost:50051"},
                                                         {"10.0.0.1:80", "10.0.0.1:80"},
                                                         {"::1", "[::1]:50051"},
                                                         {"[::1]", "[::1]:50051"},
                                                         {"[fe80::1]:443", "[fe80::1]:443"},
                                                         {"host.example:50051", "host.example:50051"},
                                                         {"unix:/tmp/s", "unix:/tmp/s"},
                                                         {"dns:///h.example", "dns:///h.example"}};
  for (const auto& [given, normal] : targets) {
    const auto made = NormalTarget(given);
    ASSERT_TRUE(made.ok()) << made.status();
    EXPECT_EQ(*made, normal);
  }
}

TEST(NormalTargetTest, RefusesWhatIsNoHostAndPort) {
  for (const char* target :
       {"", ":50051", "host:", "host:0", "host:65536", "host:+80", "host: 80", "host:http", "[::1", "[::1]80", "[]:80",
        "http://127.0.0.1:50051", "grpc://host", "a:b:c", "1.2.3.4:5:6", "unix:"}) {
    EXPECT_EQ(NormalTarget(target).status().code(), absl::StatusCode::kInvalidArgument) << target;
  }
}

TEST(IsLoopbackTest, KnowsThisMachineInEverySpelling) {
  for (const char* target :
       {"localhost:1", "LocalHost:1", "a.localhost:1", "ip6-localhost:1", "127.0.0.1:1", "127.9.8.7:1", "0.0.0.0:1",
        "[::1]:1", "[::]:1", "[0:0:0:0:0:0:0:1]:1", "[::ffff:127.0.0.1]:1", "unix:/tmp/s", "unix-abstract:s",
        "dns:///localhost:1", "ipv4:127.0.0.1:1", "ipv6:[::1]:1"}) {
    EXPECT_TRUE(IsLoopback(target)) << target;
  }
  for (const char* target : {"10.0.0.1:1", "host.example:1", "127.0.0.1.example:1", "localhost.example:1",
                             "[fe80::1]:1", "[::ffff:10.0.0.1]:1", "dns:///host.example"}) {
    EXPECT_FALSE(IsLoopback(target)) << target;
  }
}

class ProxyHintTest : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : kNames) unsetenv(name);
  }
  void TearDown() override { SetUp(); }

  static constexpr const char* kNames[] = {"grpc_proxy", "https_proxy", "http_proxy", "no_grpc_proxy", "no_proxy"};
};

TEST_F(ProxyHintTest, NamesTheVariableThatIsUsed) {
  EXPECT_EQ(ProxyHint("10.0.0.1:1"), "");
  setenv("http_proxy", "http://proxy.example:3128", 1);
  EXPECT_THAT(ProxyHint("10.0.0.1:1"), AllOf(HasSubstr("$http_proxy"), HasSubstr("'proxy.example:3128'"),
                                             HasSubstr("put 10.0.0.1 into $no_proxy")));
  EXPECT_EQ(ProxyHint("127.0.0.1:1"), "");
  setenv("grpc_proxy", "http://other.example:1", 1);
  EXPECT_THAT(ProxyHint("dns:///host.example:1"), AllOf(HasSubstr("$grpc_proxy"), HasSubstr("host.example")));
}

TEST_F(ProxyHintTest, IsSilentWhereTheProxyIsNotUsed) {
  setenv("http_proxy", "http://proxy.example:3128", 1);
  setenv("no_proxy", "example, 10.0.0.1", 1);
  EXPECT_EQ(ProxyHint("10.0.0.1:1"), "");
  EXPECT_EQ(ProxyHint("host.example:1"), "");
  EXPECT_NE(ProxyHint("10.0.0.2:1"), "");
  unsetenv("no_proxy");
  for (const char* unused : {"proxy.example:3128", "https://proxy.example", "socks5://proxy.example", ""}) {
    setenv("http_proxy", unused, 1);
    EXPECT_EQ(ProxyHint("10.0.0.1:1"), "") << unused;
  }
}

TEST_F(ProxyHintTest, TellsNoPassword) {
  setenv("http_proxy", "http://user:secret@proxy.example:3128", 1);
  EXPECT_THAT(ProxyHint("10.0.0.1:1"), AllOf(Not(HasSubstr("secret")), HasSubstr("'proxy.example:3128'")));
}

}  // namespace
}  // namespace longhaul
