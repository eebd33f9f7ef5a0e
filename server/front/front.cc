#include "server/front/front.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/exceptions.h"
#include "engine/base/log.h"
#include "engine/base/start_thread.h"
#include "server/front/frame_writer.h"
#include "server/front/peer_name.h"

namespace longhaul {
namespace {

constexpr int64_t kMaxConnections = 4096;
// For a connection: the client's socket and both ends of the pair; beside them for all else of the process, and what
// grows with the limit: see HttpLimits.
constexpr int64_t kDescriptorsPerConnection = 3, kOtherDescriptors = 192;

constexpr std::chrono::milliseconds kCheckInterval{250};
constexpr size_t kEvents = 64;           // of one wait
constexpr size_t kReadBytes = 16 << 10;  // at a time; so much may wait for each side of a connection

// To gRPC, in bytes; the system allows twice as much. A connection keeps a buffer that holds what gRPC read at once.
constexpr int kSendBuffer = 16 << 10;

// Two sockets, the second of which has `name` as its peer's. False when there is no descriptor.
bool MakePair(const std::string& name, Descriptor& own, Descriptor& other) {
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0) return false;
  own.Reset(fds[0]);
  other.Reset(fds[1]);
  setsockopt(own.get(), SOL_SOCKET, SO_SNDBUF, &kSendBuffer, sizeof(kSendBuffer));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const size_t n = std::min(name.size(), sizeof(address.sun_path) - 1);
  name.copy(address.sun_path + 1, n);  // after a zero byte: a name, no file
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + n);
  return bind(own.get(), reinterpret_cast<const sockaddr*>(&address), size) == 0;
}

FrontLimits Resolved(FrontLimits limits) {
  rlimit descriptors{};
  getrlimit(RLIMIT_NOFILE, &descriptors);
  const auto have = static_cast<int64_t>(std::min<rlim_t>(descriptors.rlim_cur, 1 << 24));
  const int64_t possible = std::max<int64_t>((have - have / 8 - kOtherDescriptors) / kDescriptorsPerConnection, 1);
  if (limits.max_connections == 0) {
    limits.max_connections = std::min(possible, kMaxConnections);
  } else if (limits.max_connections > possible) {
    LogWarning("--max-connections: ", limits.max_connections, " take more than the ", have,
               " descriptors that this process may have; ", possible, " are allowed");
    limits.max_connections = possible;
  }
  if (limits.max_connections_per_address == 0) {
    limits.max_connections_per_address = std::max<int64_t>(1, limits.max_connections / 4);
  }
  return limits;
}

}  // namespace

int64_t RaiseDescriptorLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  const rlim_t before = limit.rlim_cur;
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0) limit.rlim_cur = before;
  return static_cast<int64_t>(limit.rlim_cur);
}

absl::StatusOr<std::unique_ptr<Front>> Front::Start(const std::string& listen, const FrontLimits& limits,
                                                    int64_t max_message_bytes, HandOver hand_over) {
  absl::StatusOr<ListeningSockets> listening = Listen(listen);
  if (!listening.ok()) return absl::UnavailableError(listening.status().message());
  auto front = std::unique_ptr<Front>(
      new Front(*std::move(listening), Resolved(limits), max_message_bytes, std::move(hand_over)));
  if (!front->epoll_.valid() || !front->wake_.valid()) return absl::UnavailableError("no descriptor is left");
  front->thread_ = StartThread("front", [raw = front.get()] { raw->Run(); });
  return front;
}

Front::Front(ListeningSockets listening, const FrontLimits& limits, int64_t max_message_bytes, HandOver hand_over)
    : epoll_(epoll_create1(EPOLL_CLOEXEC)),
      wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      acceptor_(std::move(listening), epoll_.get()),
      random_name_(uint64_t{std::random_device()()} << 32 | std::random_device()()) {
  shared_.epoll = epoll_.get();
  shared_.scratch.resize(kReadBytes);
  shared_.limits = limits;
  shared_.use.max_message_bytes = max_message_bytes;
  shared_.hand_over = std::move(hand_over);
}

Front::~Front() {
  if (!thread_.joinable()) return;
  {
    MutexLock lock(mutex_);
    stop_ = true;
  }
  Wake();
  thread_.join();
}

void Front::Wake() {
  const uint64_t one = 1;
  (void)!write(wake_.get(), &one, sizeof(one));
}

void Front::StopListening(Clock::time_point end) {
  MutexLock lock(mutex_);
  end_ = end;
  stop_listening_ = true;
  Wake();
  while (!listening_stopped_) changed_.Wait(mutex_);
}

void Front::AwaitEnd(Clock::time_point deadline) {
  MutexLock lock(mutex_);
  while (shared_.use.connections > 0 && changed_.WaitUntil(mutex_, deadline)) {
  }
}

void Front::Run() {
  epoll_event wake_event{.events = EPOLLIN, .data = {.ptr = this}};
  epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wake_.get(), &wake_event);
  std::array<epoll_event, kEvents> events;
  Clock::time_point next_check = Clock::now() + kCheckInterval;
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(next_check - Clock::now()).count();
    int timeout = connections_.empty() ? -1 : static_cast<int>(std::max<int64_t>(left + 1, 0));
    if (constexpr int kRest = Acceptor::kRest.count(); acceptor_.rests())
      timeout = timeout < 0 ? kRest : std::min(timeout, kRest);
    const int n = epoll_wait(epoll_.get(), events.data(), kEvents, timeout);
    const Clock::time_point now = Clock::now();
    acceptor_.Turn(now);
    for (int i = 0; i < n; ++i) {
      const epoll_event& event = events[static_cast<size_t>(i)];
      // Where there is no memory, a new client is lost; Use handles those that are connected.
      const absl::Status done = CatchExceptions([&] {
        OnEvent(event.data.ptr, event.events, now);
        return absl::OkStatus();
      });
    }
    if (now >= next_check) {
      const absl::Status done = CatchExceptions([&] {
        Check(now);
        return absl::OkStatus();
      });
      next_check = now + kCheckInterval;
    }
    Reap();
    MutexLock lock(mutex_);
    if (stop_) break;
    if (stop_listening_ && !listening_stopped_) {
      acceptor_.Close();
      for (const auto& entry : connections_) entry.first->CloseUnlessHandedOver();
      listening_stopped_ = true;
    }
    if (now >= end_) {
      for (const auto& entry : connections_) entry.first->Close(Misbehaviour::kNone);
    }
    changed_.NotifyAll();
  }
  connections_.clear();
}

void Front::OnEvent(void* what, uint32_t events, Clock::time_point now) {
  if (what == this) {
    uint64_t count = 0;
    (void)!read(wake_.get(), &count, sizeof(count));
    return;
  }
  if (what == &acceptor_) {
    return acceptor_.Accept(
        now, [&](Acceptor::Client client) { Take(std::move(client), now); }, [] { return false; });
  }
  const auto& endpoint = *static_cast<Connection::Endpoint*>(what);
  Use(*endpoint.connection, [&] { endpoint.connection->OnEvents(endpoint.side, events, now); });
}

void Front::Use(Connection& connection, absl::FunctionRef<void()> action) {
  const absl::Status status = CatchExceptions([&] {
    action();
    return absl::OkStatus();
  });
  if (!status.ok()) connection.Drop();
  if (connection.over()) over_.push_back(&connection);
}

void Front::Check(Clock::time_point now) {
  for (const auto& entry : connections_) {
    Use(*entry.first, [&] { entry.first->Check(now); });
  }
}

void Front::Take(Acceptor::Client client, Clock::time_point now) {
  // The client sees at once that there is no room.
  if (client.by_spare) {
    return Refuse(std::move(client.socket), ConnectionRefusal::kNoDescriptor, "no descriptor is left");
  }
  const std::string peer = PeerOfAddress(client.address);
  if (shared_.use.connections >= shared_.limits.max_connections) {
    return Refuse(std::move(client.socket), ConnectionRefusal::kMaxConnections,
                  absl::StrCat("--max-connections, ", shared_.limits.max_connections, ", are open"));
  }
  const bool everybody = peer.starts_with("unix");
  AddressUse& address = addresses_.try_emplace(NetworkOfPeer(peer), shared_.limits, everybody).first->second;
  if (address.connections >= shared_.limits.max_connections_per_address && !everybody) {
    return Refuse(
        std::move(client.socket), ConnectionRefusal::kMaxConnectionsPerAddress,
        absl::StrCat("--max-connections-per-address, ", shared_.limits.max_connections_per_address, ", are open"));
  }
  Descriptor own, other;
  if (!MakePair(SocketNameOfPeer(peer, random_name_, next_number_++), own, other)) {
    return Refuse(std::move(client.socket), ConnectionRefusal::kNoDescriptor, "no descriptor is left");
  }
  const int on = 1;
  setsockopt(client.socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  shared_.use.accepted.Add();
  auto connection =
      std::make_unique<Connection>(shared_, std::move(client.socket), std::move(own), std::move(other), address, now);
  Connection* const key = connection.get();
  connections_.emplace(key, std::move(connection));
}

void Front::Refuse(Descriptor client, ConnectionRefusal why, const std::string& text) {
  shared_.use.refused[static_cast<size_t>(why)].Add();
  std::string words;
  // The self-connection takes a SETTINGS frame as proof that clients are served; a connection refused for want of
  // descriptors must not look like that.
  if (why != ConnectionRefusal::kNoDescriptor) AppendEmptySettings(words);
  AppendGoAway(0, Http2Error::kEnhanceYourCalm, text, words);
  (void)!send(client.get(), words.data(), words.size(), MSG_NOSIGNAL);
  shutdown(client.get(), SHUT_WR);
}

void Front::Reap() {
  if (over_.empty()) return;
  for (Connection* const connection : over_) {
    const auto found = connections_.find(connection);
    if (found == connections_.end()) continue;
    if (const Misbehaviour why = connection->misbehaviour(); why != Misbehaviour::kNone) {
      shared_.use.misbehaved[static_cast<size_t>(why)].Add();
    }
    connections_.erase(found);
  }
  over_.clear();
  // Addresses that gave up many calls recently are remembered for some seconds.
  const Clock::time_point now = Clock::now();
  for (auto it = addresses_.begin(); it != addresses_.end();) {
    AddressUse& use = it->second;
    const bool forgotten = use.connections == 0 && use.resets.full(now) && use.refusals.full(now);
    it = forgotten ? addresses_.erase(it) : std::next(it);
  }
}

}  // namespace longhaul
