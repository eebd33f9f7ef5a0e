#include "server/front/self_connection.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include "absl/strings/str_cat.h"
#include "engine/base/exceptions.h"
#include "engine/base/log.h"
#include "engine/base/start_thread.h"
#include "server/front/frame_reader.h"
#include "server/front/frame_writer.h"
#include "server/sockets/descriptor.h"

namespace longhaul {
namespace {

using Clock = std::chrono::steady_clock;

// Whether `fd` is ready for `events` by then.
bool Await(int fd, short events, Clock::time_point deadline) {
  pollfd waited{.fd = fd, .events = events, .revents = 0};
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    const int n = poll(&waited, 1, static_cast<int>(std::max<int64_t>(left, 0)));
    if (n > 0) return true;
    if (n == 0 || errno != EINTR) return false;
  }
}

absl::Status Failed(const char* what) {
  return absl::UnavailableError(absl::StrCat(what, ": ", std::strerror(errno)));
}

}  // namespace

absl::Status ConnectToServer(const sockaddr_storage& address, std::chrono::milliseconds timeout) {
  const Clock::time_point deadline = Clock::now() + timeout;
  const Descriptor fd(socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return Failed("socket");
  const socklen_t size = address.ss_family == AF_UNIX ? sizeof(sockaddr_un) : sizeof(address);
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0) {
    if (errno != EINPROGRESS) return Failed("connect");
    if (!Await(fd.get(), POLLOUT, deadline)) return absl::UnavailableError("connect: no answer");
    int error = 0;
    socklen_t error_size = sizeof(error);
    getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &error_size);
    if (error != 0) return absl::UnavailableError(absl::StrCat("connect: ", std::strerror(error)));
  }
  std::string hello(kHttp2Preface);
  AppendEmptySettings(hello);
  if (send(fd.get(), hello.data(), hello.size(), MSG_NOSIGNAL) < 0) return Failed("send");
  FrameReader reader;
  FrameReader::Piece piece;
  for (;;) {
    if (!Await(fd.get(), POLLIN, deadline)) return absl::UnavailableError("connected, but no frame came");
    char bytes[FrameHeader::kBytes];
    const ssize_t n = recv(fd.get(), bytes, sizeof(bytes), 0);
    if (n == 0) return absl::UnavailableError("connected, and closed before a frame came");
    if (n < 0 && errno != EAGAIN && errno != EINTR) return Failed("recv");
    std::string_view rest(bytes, static_cast<size_t>(std::max<ssize_t>(n, 0)));
    if (!rest.empty() && reader.Take(rest, piece)) break;
  }
  if (piece.frame.type == FrameType::kGoAway) return absl::UnavailableError("connected, and refused");
  if (piece.frame.type != FrameType::kSettings) return absl::UnavailableError("what answers speaks no HTTP/2");
  return absl::OkStatus();
}

SelfConnection::SelfConnection(const sockaddr_storage& address, std::chrono::milliseconds interval,
                               std::chrono::milliseconds timeout)
    : address_(address), interval_(interval), timeout_(timeout) {
  if (address_.ss_family == AF_INET) {
    in_addr& host = reinterpret_cast<sockaddr_in&>(address_).sin_addr;
    if (host.s_addr == htonl(INADDR_ANY)) host.s_addr = htonl(INADDR_LOOPBACK);
  } else if (address_.ss_family == AF_INET6) {
    in6_addr& host = reinterpret_cast<sockaddr_in6&>(address_).sin6_addr;
    if (IN6_IS_ADDR_UNSPECIFIED(&host)) host = in6addr_loopback;
  }
  thread_ = StartThread("self connection", [this] { Run(); });
}

void SelfConnection::Stop() {
  {
    MutexLock lock(mutex_);
    stop_ = true;
  }
  stopped_.NotifyAll();
  if (thread_.joinable()) thread_.join();
}

absl::Status SelfConnection::status() const {
  MutexLock lock(mutex_);
  return before_.ok() ? before_ : last_;
}

void SelfConnection::Run() {
  for (;;) {
    const Clock::time_point next = Clock::now() + interval_;
    absl::Status status = CatchExceptions([&] { return ConnectToServer(address_, timeout_); });
    MutexLock lock(mutex_);
    before_ = std::move(last_);
    last_ = std::move(status);
    if (!before_.ok() && !last_.ok()) LogWarning("cannot connect to this server: ", last_.message());
    while (!stop_ && stopped_.WaitUntil(mutex_, next)) {
    }
    if (stop_) return;
  }
}

}  // namespace longhaul
