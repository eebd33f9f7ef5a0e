#include "server/front/peer_name.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>

namespace longhaul {
namespace {

sockaddr_storage Address(int family, const char* host, uint16_t port) {
  sockaddr_storage address{};
  address.ss_family = static_cast<sa_family_t>(family);
  if (family == AF_INET) {
    auto& ipv4 = reinterpret_cast<sockaddr_in&>(address);
    inet_pton(AF_INET, host, &ipv4.sin_addr);
    ipv4.sin_port = htons(port);
  } else if (family == AF_INET6) {
    auto& ipv6 = reinterpret_cast<sockaddr_in6&>(address);
    inet_pton(AF_INET6, host, &ipv6.sin6_addr);
    ipv6.sin6_port = htons(port);
  }
  return address;
}

TEST(PeerOfAddress, SaysFamilyHostAndPort) {
  EXPECT_EQ(PeerOfAddress(Address(AF_INET, "192.0.2.7", 41234)), "ipv4:192.0.2.7:41234");
  EXPECT_EQ(PeerOfAddress(Address(AF_INET6, "2001:db8::7", 41234)), "ipv6:[2001:db8::7]:41234");
  EXPECT_EQ(PeerOfAddress(Address(AF_INET6, "::ffff:192.0.2.7", 1)), "ipv4:192.0.2.7:1");
  EXPECT_EQ(PeerOfAddress(Address(AF_UNIX, "", 0)), "unix:");
}

TEST(PeerOfGrpc, GivesBackWhatTheNameOfTheSocketSays) {
  for (const char* peer : {"ipv4:192.0.2.7:41234", "ipv6:[2001:db8::7]:1", "ipv6:[::]:65535", "unix:"}) {
    const std::string name = SocketNameOfPeer(peer, ~uint64_t{0}, 12345678901);
    EXPECT_LE(name.size(), 107u);
    EXPECT_EQ(name.find_first_of("[]%"), std::string::npos);
    EXPECT_EQ(PeerOfGrpc("unix-abstract:" + name), peer);
  }
  EXPECT_NE(SocketNameOfPeer("unix:", 7, 1), SocketNameOfPeer("unix:", 7, 2));
  EXPECT_NE(SocketNameOfPeer("unix:", 7, 1), SocketNameOfPeer("unix:", 8, 1));
}

TEST(PeerOfGrpc, LeavesOthersAlone) {
  for (const char* peer :
       {"ipv4:192.0.2.7:1", "unix:/run/other.sock", "", "unix-abstract:longhaul/1", "unix-abstract:"}) {
    EXPECT_EQ(PeerOfGrpc(peer), peer);
  }
}

TEST(HostOfPeer, LeavesThePortOut) {
  EXPECT_EQ(HostOfPeer("ipv4:192.0.2.7:41234"), "192.0.2.7");
  EXPECT_EQ(HostOfPeer("ipv6:[2001:db8::5]:41234"), "2001:db8::5");
  EXPECT_EQ(HostOfPeer("ipv6:[::]:1"), "::");
  EXPECT_EQ(HostOfPeer("unix:"), "unix:");
  EXPECT_EQ(HostOfPeer(""), "");
  EXPECT_EQ(HostOfPeer("ipv4:"), "");
}

TEST(NetworkOfPeer, IsWhatOneClientCanChooseFrom) {
  EXPECT_EQ(NetworkOfPeer("ipv4:192.0.2.7:41234"), "192.0.2.7");
  EXPECT_EQ(NetworkOfPeer("ipv6:[2001:db8::5]:1"), NetworkOfPeer("ipv6:[2001:db8::6:7:8:9]:2"));
  EXPECT_NE(NetworkOfPeer("ipv6:[2001:db8::5]:1"), NetworkOfPeer("ipv6:[2001:db8:0:1::5]:1"));
  EXPECT_EQ(NetworkOfPeer("unix:"), "unix:");
}

}  // namespace
}  // namespace longhaul
