#pragma once

#include <string>
#include <string_view>

namespace longhaul {

// Who a client is that does not say it: the address of gRPC's peer, "ipv4:192.0.2.7:41234" or
// "ipv6:%5B2001:db8::7%5D:41234", without its port, because each connection has another. Of other kinds ("unix:") the
// whole.
std::string ClientOfPeer(std::string_view peer);

}  // namespace longhaul
