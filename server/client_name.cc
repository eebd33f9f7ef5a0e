#include "server/client_name.h"

namespace longhaul {

std::string ClientOfPeer(std::string_view peer) {
  if (!peer.starts_with("ipv4:") && !peer.starts_with("ipv6:")) return std::string(peer);
  std::string_view address = peer.substr(5);
  address = address.substr(0, address.rfind(':'));
  // Brackets around an IPv6 address; newer versions of gRPC escape them.
  for (const std::string_view opening : {"[", "%5B"}) {
    if (address.starts_with(opening)) address.remove_prefix(opening.size());
  }
  for (const std::string_view closing : {"]", "%5D"}) {
    if (address.ends_with(closing)) address.remove_suffix(closing.size());
  }
  return std::string(address);
}

}  // namespace longhaul
