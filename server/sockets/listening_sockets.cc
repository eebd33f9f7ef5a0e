#include "server/sockets/listening_sockets.h"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"

namespace longhaul {
namespace {

absl::Status SystemError(const char* what) {
  return absl::UnavailableError(absl::StrCat(what, ": ", std::strerror(errno)));
}

uint16_t PortOf(const sockaddr_storage& address) {
  if (address.ss_family == AF_INET6) return ntohs(reinterpret_cast<const sockaddr_in6&>(address).sin6_port);
  return ntohs(reinterpret_cast<const sockaddr_in&>(address).sin_port);
}

// ALREADY_EXISTS where somebody listens there.
absl::StatusOr<Descriptor> ListenOn(const sockaddr* address, socklen_t size, bool both_families) {
  Descriptor fd(socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return SystemError("socket");
  const int on = 1, ipv6_alone = both_families ? 0 : 1;
  if (address->sa_family != AF_UNIX) setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (address->sa_family == AF_INET6) setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &ipv6_alone, sizeof(ipv6_alone));
  if (bind(fd.get(), address, size) != 0) {
    if (errno == EADDRINUSE) return absl::AlreadyExistsError("somebody listens there");
    return SystemError("bind");
  }
  if (listen(fd.get(), SOMAXCONN) != 0) return SystemError("listen");
  return fd;
}

absl::StatusOr<ListeningSockets> ListenUnix(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    return absl::UnavailableError(
        absl::StrCat("the path has ", path.size(), " bytes, at most ", sizeof(address.sun_path) - 1, " are allowed"));
  }
  path.copy(address.sun_path, path.size());
  const auto* const generic = reinterpret_cast<const sockaddr*>(&address);
  struct stat existing {};
  if (stat(path.c_str(), &existing) == 0 && S_ISSOCK(existing.st_mode)) {
    const Descriptor other(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (connect(other.get(), generic, sizeof(address)) != 0 && errno == ECONNREFUSED) unlink(path.c_str());
  }
  ListeningSockets listening;
  LH_ASSIGN_OR_RETURN(Descriptor fd, ListenOn(generic, sizeof(address), false));
  listening.sockets.push_back(std::move(fd));
  listening.unix_path = path;
  std::memcpy(&listening.address, &address, sizeof(address));
  return listening;
}

}  // namespace

absl::StatusOr<ListeningSockets> Listen(const std::string& address) {
  if (address.starts_with("unix:")) return ListenUnix(address.substr(5));
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos) return absl::UnavailableError("it has no port");
  std::string host = address.substr(0, colon);
  const std::string port = address.substr(colon + 1);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* raw = nullptr;
  if (const int error = getaddrinfo(host.empty() ? nullptr : host.c_str(), port.c_str(), &hints, &raw); error != 0) {
    return absl::UnavailableError(gai_strerror(error));
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> found(raw, freeaddrinfo);
  ListeningSockets listening;
  absl::Status last = absl::UnavailableError("the host has no address");
  for (addrinfo* one = found.get(); one != nullptr; one = one->ai_next) {
    if (listening.port != 0) {
      // The first one's, where any was asked for.
      const uint16_t taken = htons(static_cast<uint16_t>(listening.port));
      if (one->ai_family == AF_INET6) reinterpret_cast<sockaddr_in6*>(one->ai_addr)->sin6_port = taken;
      if (one->ai_family == AF_INET) reinterpret_cast<sockaddr_in*>(one->ai_addr)->sin_port = taken;
    }
    absl::StatusOr<Descriptor> fd = ListenOn(one->ai_addr, one->ai_addrlen, host == "::");
    // A host may have an address of a family that this machine does not speak; a port in use is an error of all.
    if (absl::IsAlreadyExists(fd.status())) return fd.status();
    if (!fd.ok()) {
      last = fd.status();
      continue;
    }
    if (listening.sockets.empty()) {
      socklen_t size = sizeof(listening.address);
      getsockname(fd->get(), reinterpret_cast<sockaddr*>(&listening.address), &size);
      listening.port = PortOf(listening.address);
    }
    listening.sockets.push_back(*std::move(fd));
  }
  if (listening.sockets.empty()) return last;
  return listening;
}

}  // namespace longhaul
