#pragma once

#include <sys/socket.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/sockets/descriptor.h"

namespace longhaul {

struct ListeningSockets {
  std::vector<Descriptor> sockets;  // non-blocking
  sockaddr_storage address{};       // of the first one
  int port = 0;                     // 0 for a unix socket
  std::string unix_path;            // the file of a unix socket
};

// Listens on HOST:PORT, on all addresses that HOST has (0.0.0.0 is all of IPv4, [::] all of both), or on unix:PATH,
// where a socket that nobody listens on any more is replaced. Port 0 takes a free one, the same on all. The error is
// the system's reason.
absl::StatusOr<ListeningSockets> Listen(const std::string& address);

}  // namespace longhaul
