#include "server/client_name.h"

#include <gtest/gtest.h>

namespace longhaul {
namespace {

TEST(ClientOfPeer, LeavesThePortOut) {
  EXPECT_EQ(ClientOfPeer("ipv4:192.0.2.7:41234"), "192.0.2.7");
  EXPECT_EQ(ClientOfPeer("ipv4:192.0.2.7:1"), ClientOfPeer("ipv4:192.0.2.7:65535"));
  EXPECT_EQ(ClientOfPeer("ipv6:[2001:db8::5]:41234"), "2001:db8::5");
  EXPECT_EQ(ClientOfPeer("ipv6:%5B2001:db8::5%5D:41234"), "2001:db8::5");
  EXPECT_EQ(ClientOfPeer("ipv6:%5Bfe80::1%25eth0%5D:1"), "fe80::1%25eth0");
  EXPECT_EQ(ClientOfPeer("ipv6:%5B5b::%5D:1"), "5b::");
}

TEST(ClientOfPeer, LeavesOtherKindsAlone) {
  EXPECT_EQ(ClientOfPeer("unix:/run/longhaul.sock"), "unix:/run/longhaul.sock");
  EXPECT_EQ(ClientOfPeer("unix:"), "unix:");
  EXPECT_EQ(ClientOfPeer(""), "");
  EXPECT_EQ(ClientOfPeer("ipv4:"), "");
}

}  // namespace
}  // namespace longhaul
