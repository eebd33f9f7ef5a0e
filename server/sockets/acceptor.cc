#include "server/sockets/acceptor.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>

#include <cerrno>
#include <utility>

namespace longhaul {
namespace {

bool SomebodyWaits(int listener) {
  pollfd events{.fd = listener, .events = POLLIN, .revents = 0};
  return poll(&events, 1, 0) > 0;
}

}  // namespace

Acceptor::Acceptor(ListeningSockets listening, int epoll, int at_a_time)
    : listening_(std::move(listening)), epoll_(epoll), at_a_time_(at_a_time) {
  KeepSpare();
  Watch(true);
}

Acceptor::~Acceptor() {
  Close();
}

void Acceptor::Close() {
  // Remove the file first: once nobody listens, another server may create its own socket under this name.
  if (!listening_.unix_path.empty()) unlink(std::exchange(listening_.unix_path, {}).c_str());
  listening_.sockets.clear();
}

void Acceptor::KeepSpare() {
  if (!spare_.valid()) spare_.Reset(open("/dev/null", O_RDONLY | O_CLOEXEC));
}

void Acceptor::Watch(bool watch) {
  for (const Descriptor& socket : listening_.sockets) {
    epoll_event event{.events = EPOLLIN, .data = {.ptr = this}};
    epoll_ctl(epoll_, watch ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, socket.get(), &event);
  }
  rests_ = !watch;
}

void Acceptor::Turn(TimePoint now) {
  KeepSpare();
  if (rests_ && now >= rest_ends_) Watch(true);
}

void Acceptor::Accept(TimePoint now, Take take, MakeRoom make_room) {
  for (const Descriptor& socket : listening_.sockets) {
    if (!rests_) AcceptFrom(socket.get(), now, take, make_room);
  }
}

void Acceptor::AcceptFrom(int listener, TimePoint now, Take take, MakeRoom make_room) {
  bool by_spare = false;
  for (int i = 0; i < at_a_time_; ++i) {
    Client client;
    socklen_t size = sizeof(client.address);
    client.socket.Reset(
        accept4(listener, reinterpret_cast<sockaddr*>(&client.address), &size, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (client.socket.valid()) {
      client.by_spare = std::exchange(by_spare, false);
      take(std::move(client));
      KeepSpare();
      continue;
    }
    if (errno == EAGAIN) return;
    if (errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM) continue;  // of that client alone
    // The system looks for a free descriptor before it looks for a client.
    if (!SomebodyWaits(listener)) return;
    if (spare_.valid() && !by_spare) {
      spare_.Reset();
      by_spare = true;
    } else if (!make_room()) {
      Watch(false);
      rest_ends_ = now + kRest;
      return;
    }
  }
}

}  // namespace longhaul
