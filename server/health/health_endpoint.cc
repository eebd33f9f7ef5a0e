#include "server/health/health_endpoint.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <list>
#include <new>
#include <system_error>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/quoted.h"
#include "engine/base/this_thread.h"
#include "server/health/health_session.h"
#include "server/sockets/acceptor.h"

namespace longhaul {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kMaxOfAKind = 32;       // connections
constexpr int kAcceptsAtATime = 8;       // of each address: nobody is replaced before it was read
constexpr size_t kReadBytes = 16 << 10;  // at a time; then the other connections have a turn
constexpr size_t kEvents = 64;
constexpr std::chrono::milliseconds kCheckInterval{1000};

// A client that is silent for so long is dropped; one that watches is pinged first.
constexpr std::chrono::seconds kSilence{30};

struct HealthConnection {
  HealthConnection(Descriptor client, const std::vector<std::string>& services, bool serving, Clock::time_point now)
      : fd(std::move(client)), session(services, serving), heard(now) {}

  Descriptor fd;
  HealthSession session;
  std::string unsent;
  Clock::time_point heard;
  bool asked = false;  // whether it was pinged since then
};
using Connections = std::list<HealthConnection>;  // the one that has been silent for longest is the first

class EpollEndpoint : public HealthEndpoint {
 public:
  // Throws std::system_error where no thread can be made.
  EpollEndpoint(ListeningSockets listening, std::vector<std::string> services)
      : services_(std::move(services)),
        epoll_(epoll_create1(EPOLL_CLOEXEC)),
        wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
        acceptor_(std::move(listening), epoll_.get(), kAcceptsAtATime) {
    Watch(EPOLL_CTL_ADD, wake_.get(), EPOLLIN, this);
    thread_ = std::thread([this] { Run(); });
  }
  ~EpollEndpoint() override {
    stop_ = true;
    Wake();
    thread_.join();
  }

  int port() const override { return acceptor_.port(); }

  void SetServing(bool serving) override {
    serving_ = serving;
    Wake();
  }

 private:
  void Wake() {
    const uint64_t one = 1;
    (void)!write(wake_.get(), &one, sizeof(one));
  }

  bool Watch(int what, int fd, uint32_t events, void* pointer) {
    epoll_event event{.events = events, .data = {.ptr = pointer}};
    return epoll_ctl(epoll_.get(), what, fd, &event) == 0;
  }

  void Run() {
    NameThisThread("health");
    std::array<epoll_event, kEvents> events;
    while (!stop_) {
      acceptor_.Turn(Clock::now());
      const auto timeout = acceptor_.rests() ? Acceptor::kRest : kCheckInterval;
      const int n = epoll_wait(epoll_.get(), events.data(), kEvents, static_cast<int>(timeout.count()));
      const Clock::time_point now = Clock::now();
      for (int i = 0; i < n; ++i) OnEvent(events[static_cast<size_t>(i)], now);
      TellServing();
      DropSilent(now);
    }
  }

  void OnEvent(const epoll_event& event, Clock::time_point now) {
    if (event.data.ptr == this) {
      uint64_t count = 0;
      (void)!read(wake_.get(), &count, sizeof(count));
      return;
    }
    if (event.data.ptr == &acceptor_) {
      return acceptor_.Accept(
          now, [&](Acceptor::Client client) { Take(std::move(client.socket), now); }, [&] { return DropOldest(); });
    }
    for (Connections* const kind : {&newcomers_, &known_}) {
      const auto found = std::find_if(kind->begin(), kind->end(),
                                      [&](const HealthConnection& each) { return &each == event.data.ptr; });
      if (found == kind->end()) continue;  // of the other kind, or dropped since the wait
      const bool readable = (event.events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0;
      if (!Use(*kind, found, [&] { return (!readable || Read(*found, now)) && Send(*found); }) || !readable) return;
      Connections& now_of = found->session.has_answered() ? known_ : newcomers_;
      now_of.splice(now_of.end(), *kind, found);
      if (now_of.size() > kMaxOfAKind) now_of.pop_front();
      return;
    }
  }

  // Drops a connection when `action` says that it is over, or there is no memory for it. Whether it goes on.
  template <typename Action>
  bool Use(Connections& kind, Connections::iterator connection, Action action) {
    try {
      if (action()) return true;
    } catch (const std::bad_alloc&) {
    }
    kind.erase(connection);
    return false;
  }

  // Drops the connection that has been silent for longest, to make room. False when there is none.
  bool DropOldest() {
    Connections& kind = newcomers_.empty() ? known_ : newcomers_;
    if (kind.empty()) return false;
    kind.pop_front();
    return true;
  }

  void Take(Descriptor client, Clock::time_point now) {
    const int on = 1;
    setsockopt(client.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (newcomers_.size() >= kMaxOfAKind) newcomers_.pop_front();
    try {
      newcomers_.emplace_back(std::move(client), services_, told_, now);
    } catch (const std::bad_alloc&) {
      return;
    }
    HealthConnection& taken = newcomers_.back();
    if (!Watch(EPOLL_CTL_ADD, taken.fd.get(), EPOLLIN, &taken)) newcomers_.pop_back();
  }

  // Reads once. False when the client has gone.
  bool Read(HealthConnection& connection, Clock::time_point now) {
    const ssize_t n = recv(connection.fd.get(), buffer_.data(), buffer_.size(), 0);
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    if (n == 0) return false;
    connection.heard = now;
    connection.asked = false;
    connection.session.Receive({buffer_.data(), static_cast<size_t>(n)}, now);
    return true;
  }

  // Sends what there is, and reads nothing while the client does not take it. False when the connection is over.
  bool Send(HealthConnection& connection) {
    for (;;) {
      if (connection.unsent.empty()) connection.session.AppendOutput(connection.unsent);
      if (connection.unsent.empty()) break;
      const ssize_t n = send(connection.fd.get(), connection.unsent.data(), connection.unsent.size(), MSG_NOSIGNAL);
      if (n < 0 && errno == EAGAIN) break;
      if (n < 0 && errno != EINTR) return false;
      connection.unsent.erase(0, static_cast<size_t>(std::max<ssize_t>(n, 0)));
    }
    if (connection.session.over()) {
      shutdown(connection.fd.get(), SHUT_WR);
      return false;
    }
    return Watch(EPOLL_CTL_MOD, connection.fd.get(), connection.unsent.empty() ? EPOLLIN : EPOLLOUT, &connection);
  }

  void TellServing() {
    if (told_ == serving_) return;
    told_ = serving_;
    for (Connections* const kind : {&newcomers_, &known_}) {
      for (auto next = kind->begin(); next != kind->end();) {
        const auto connection = next++;
        Use(*kind, connection, [&] {
          connection->session.SetServing(told_);
          return Send(*connection);
        });
      }
    }
  }

  void DropSilent(Clock::time_point now) {
    for (Connections* const kind : {&newcomers_, &known_}) {
      while (!kind->empty() && now - kind->front().heard > kSilence) {
        const auto silent = kind->begin();
        Use(*kind, silent, [&] {
          if (!silent->session.watched() || silent->asked) {
            silent->session.End();
            Send(*silent);
            return false;
          }
          silent->session.Ping();
          silent->asked = true;
          silent->heard = now;
          kind->splice(kind->end(), *kind, silent);
          return Send(*silent);
        });
      }
    }
  }

  const std::vector<std::string> services_;
  Descriptor epoll_, wake_;
  Acceptor acceptor_;
  std::array<char, kReadBytes> buffer_;
  // A client that reconnects in a loop replaces only connections that have not asked for anything yet.
  Connections newcomers_, known_;
  bool told_ = false;  // what the sessions know
  std::atomic<bool> serving_{false}, stop_{false};
  std::thread thread_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<HealthEndpoint>> HealthEndpoint::Start(const std::string& address,
                                                                      std::vector<std::string> services) {
  absl::StatusOr<ListeningSockets> listening = Listen(address);
  if (!listening.ok()) {
    return absl::UnavailableError(
        absl::StrCat("--health-listen: cannot listen on ", Quoted(address),
                     ": it must be HOST:PORT, an address of this host and a port that is not in use (",
                     listening.status().message(), ")"));
  }
  try {
    return std::make_unique<EpollEndpoint>(*std::move(listening), std::move(services));
  } catch (const std::system_error& error) {
    return absl::UnavailableError(absl::StrCat("--health-listen: no thread can be made: ", error.what()));
  }
}

}  // namespace longhaul
