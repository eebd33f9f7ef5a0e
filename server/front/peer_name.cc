#include "server/front/peer_name.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "engine/base/strings.h"

namespace longhaul {
namespace {

constexpr std::string_view kName = "longhaul";
constexpr std::string_view kGrpcScheme = "unix-abstract:";

}  // namespace

std::string PeerOfAddress(const sockaddr_storage& address) {
  char text[INET6_ADDRSTRLEN] = "";
  if (address.ss_family == AF_INET) {
    const auto& ipv4 = reinterpret_cast<const sockaddr_in&>(address);
    inet_ntop(AF_INET, &ipv4.sin_addr, text, sizeof(text));
    return absl::StrCat("ipv4:", text, ":", ntohs(ipv4.sin_port));
  }
  if (address.ss_family == AF_INET6) {
    const auto& ipv6 = reinterpret_cast<const sockaddr_in6&>(address);
    if (IN6_IS_ADDR_V4MAPPED(&ipv6.sin6_addr)) {
      inet_ntop(AF_INET, &ipv6.sin6_addr.s6_addr[12], text, sizeof(text));
      return absl::StrCat("ipv4:", text, ":", ntohs(ipv6.sin6_port));
    }
    inet_ntop(AF_INET6, &ipv6.sin6_addr, text, sizeof(text));
    return absl::StrCat("ipv6:[", text, "]:", ntohs(ipv6.sin6_port));
  }
  return "unix:";
}

std::string SocketNameOfPeer(std::string_view peer, uint64_t front, int64_t number) {
  // Without the brackets, which a URI would escape.
  const size_t scheme = peer.find(':');
  const size_t port = peer.rfind(':');
  std::string_view host = peer.substr(scheme + 1, port > scheme ? port - scheme - 1 : 0);
  if (host.starts_with('[')) host = host.substr(1, host.size() - 2);
  return absl::StrCat(ToAbsl(kName), "/", absl::Hex(front), "/", number, "/", ToAbsl(peer.substr(0, scheme)), "/",
                      ToAbsl(host), "/", ToAbsl(port > scheme ? peer.substr(port + 1) : ""));
}

std::string PeerOfGrpc(std::string_view grpc_peer) {
  if (!grpc_peer.starts_with(kGrpcScheme)) return std::string(grpc_peer);
  const std::vector<std::string> parts = absl::StrSplit(ToAbsl(grpc_peer.substr(kGrpcScheme.size())), '/');
  if (parts.size() != 6 || parts[0] != kName) return std::string(grpc_peer);
  const std::string &scheme = parts[3], &host = parts[4], &port = parts[5];
  if (scheme == "ipv4") return absl::StrCat("ipv4:", host, ":", port);
  if (scheme == "ipv6") return absl::StrCat("ipv6:[", host, "]:", port);
  return absl::StrCat(scheme, ":");
}

std::string HostOfPeer(std::string_view peer) {
  if (!peer.starts_with("ipv4:") && !peer.starts_with("ipv6:")) return std::string(peer);
  std::string_view host = peer.substr(5);
  host = host.substr(0, host.rfind(':'));
  if (host.starts_with('[')) host = host.substr(1, host.size() - 2);
  return std::string(host);
}

std::string NetworkOfPeer(std::string_view peer) {
  std::string host = HostOfPeer(peer);
  in6_addr address{};
  if (!peer.starts_with("ipv6:") || inet_pton(AF_INET6, host.c_str(), &address) != 1) return host;
  constexpr size_t kNetworkBytes = 8;
  return absl::StrCat(absl::BytesToHexString({reinterpret_cast<const char*>(address.s6_addr), kNetworkBytes}), "/64");
}

}  // namespace longhaul
