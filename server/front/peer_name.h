#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <string>
#include <string_view>

// Who a client is. gRPC sees one end of a pair of sockets; the other end carries the client's address as its name, so
// that gRPC tells it to every handler.
namespace longhaul {

// "ipv4:192.0.2.7:41234", "ipv6:[2001:db8::7]:41234", "unix:" of what accept() gave.
std::string PeerOfAddress(const sockaddr_storage& address);

// The name, without its leading zero byte, that the end of the pair takes for the connection `number` of a front. Of
// characters that stand in a URI as they are. `front`: a random number, since names are shared by all processes of a
// network namespace, some of which may even have the same process id.
std::string SocketNameOfPeer(std::string_view peer, uint64_t front, int64_t number);

// What PeerOfAddress gave, from what gRPC says of its peer; of other texts themselves.
std::string PeerOfGrpc(std::string_view grpc_peer);

// The name by which clients are limited that have not said theirs: the address without its port, because each
// connection has another.
std::string HostOfPeer(std::string_view peer);

// What one client can choose its addresses from: of IPv6 the /64 network, else HostOfPeer.
std::string NetworkOfPeer(std::string_view peer);

}  // namespace longhaul
