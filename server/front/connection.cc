#include "server/front/connection.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "server/front/frame_writer.h"

namespace longhaul {
namespace {

constexpr size_t kKeptBytes = 1 << 10, kMaxUnsent = 256 << 10;
constexpr int64_t kMaxWaiting = 32 << 10;  // bytes of frames that the guard itself has to send

// How long after one side has ended the other may take to receive what is left; then the client is dropped.
constexpr std::chrono::seconds kLinger{30};

// Streams that gRPC may still have to clean up, at some 100 microseconds each. Without a bound, a client that connects,
// opens many and disconnects in a loop would make it fall behind by minutes.
constexpr int64_t kMaxEndingOfAddress = 1024, kMaxEnding = 4096;

}  // namespace

Connection::Connection(Shared& shared, Descriptor client, Descriptor server, Descriptor grpc_end, AddressUse& address,
                       TimePoint now)
    : shared_(shared),
      address_(address),
      guard_(shared.limits, shared.use, address, now),
      client_{.fd = std::move(client), .endpoint = {this, Side::kClient}},
      server_{.fd = std::move(server), .endpoint = {this, Side::kServer}},
      grpc_end_(std::move(grpc_end)),
      last_check_(now),
      last_taken_(now) {
  ++shared_.use.connections;
  ++address_.connections;
  Settle(now);
}

Connection::~Connection() {
  --shared_.use.connections;
  --address_.connections;
  shared_.use.ending -= to_clear_;
  address_.ending -= to_clear_;
}

bool Connection::HeldUp() const {
  return address_.ending > kMaxEndingOfAddress || shared_.use.ending > kMaxEnding;
}

void Connection::Watch(End& end, uint32_t events) {
  if (end.watched == events || !end.fd.valid()) return;
  epoll_event event{.events = events, .data = {.ptr = &end.endpoint}};
  const int what = end.watched == 0 ? EPOLL_CTL_ADD : events == 0 ? EPOLL_CTL_DEL : EPOLL_CTL_MOD;
  if (epoll_ctl(shared_.epoll, what, end.fd.get(), &event) != 0) return Close(Misbehaviour::kNone);
  end.watched = events;
}

void Connection::OnEvents(Side side, uint32_t events, TimePoint now) {
  if (closed_) {
    if (side == Side::kServer) Discard();
    return;
  }
  if (side == Side::kClient && (events & (EPOLLERR | EPOLLHUP)) != 0) return Close(Misbehaviour::kNone);
  if ((events & (EPOLLERR | EPOLLHUP)) != 0) server_gone_ = true;
  if ((events & EPOLLIN) != 0) Read(side == Side::kClient ? client_ : server_, now);
  Settle(now);
}

bool Connection::Read(End& from, TimePoint now) {
  const ssize_t n = recv(from.fd.get(), shared_.scratch.data(), shared_.scratch.size(), 0);
  if (n < 0) {
    if (errno != EAGAIN && errno != EINTR) Close(Misbehaviour::kNone);
    return false;
  }
  if (n == 0) {
    from.ended = true;
    return false;
  }
  const std::string_view bytes(shared_.scratch.data(), static_cast<size_t>(n));
  Http2Guard::Output out{.to_client = std::move(client_.unsent), .to_server = std::move(server_.unsent)};
  const Misbehaviour why = &from == &client_ ? guard_.FromClient(bytes, now, out) : guard_.FromServer(bytes, now, out);
  client_.unsent = std::move(out.to_client);
  server_.unsent = std::move(out.to_server);
  if (why != Misbehaviour::kNone) {
    Close(why);
  } else if (grpc_end_.valid() && guard_.greeted()) {
    shared_.hand_over(grpc_end_.Release());
  }
  return true;
}

void Connection::Send(End& end, TimePoint now) {
  if (end.unsent.empty() && &end == &client_) last_taken_ = now;
  if (closed_ || end.unsent.empty()) return;
  const ssize_t n = send(end.fd.get(), end.unsent.data(), end.unsent.size(), MSG_NOSIGNAL);
  if (n >= 0) {
    end.unsent.erase(0, static_cast<size_t>(n));
    if (&end == &client_) last_taken_ = now;
    // Thousands of connections that are idle hold no buffers.
    if (end.unsent.empty() && end.unsent.capacity() > kKeptBytes) std::string().swap(end.unsent);
  } else if (errno != EAGAIN && errno != EINTR) {
    if (&end == &client_) return Close(Misbehaviour::kNone);
    // gRPC may have closed while bytes that it sent are still unread.
    server_gone_ = true;
    end.unsent.clear();
  }
}

void Connection::Settle(TimePoint now) {
  Send(server_, now);
  Send(client_, now);
  // epoll does not report again that gRPC has closed: read what it left for as long as the client takes it.
  while (!closed_ && server_gone_ && !server_.ended && client_.unsent.empty()) {
    if (!Read(server_, now)) server_.ended = true;
    Send(client_, now);
  }
  if (closed_) return;
  // gRPC does not support half-closed connections.
  if ((client_.ended && server_.unsent.empty()) || (server_.ended && client_.unsent.empty())) {
    return Close(Misbehaviour::kNone);
  }
  if ((client_.ended || server_.ended || server_gone_) && !ending_.has_value()) ending_ = now;
  // Do not read from a client that takes nothing: each refusal would add an answer to what waits for it.
  const bool listen = server_.unsent.empty() && client_.unsent.size() < kMaxUnsent &&
                      guard_.waiting_for_client() < kMaxWaiting && !client_.ended && !server_.ended && !HeldUp();
  Watch(client_, (listen ? EPOLLIN : 0u) | (client_.unsent.empty() ? 0u : EPOLLOUT));
  Watch(server_, server_gone_ ? 0u
                              : (client_.unsent.empty() && !server_.ended ? EPOLLIN : 0u) |
                                    (server_.unsent.empty() ? 0u : EPOLLOUT));
}

void Connection::Check(TimePoint now) {
  if (closed_) return;
  if (ending_.has_value() && now - *ending_ > kLinger) return Close(Misbehaviour::kNone);
  const bool reads_nothing = !client_.unsent.empty() && shared_.limits.send_timeout.count() > 0 &&
                             now - last_taken_ > shared_.limits.send_timeout;
  if (reads_nothing) return Close(Misbehaviour::kStalled);
  const auto since = now - std::exchange(last_check_, now);
  if (!server_.unsent.empty() || HeldUp()) {
    // Time during which gRPC takes nothing, or must not be given more, is not charged to the client.
    guard_.Excuse(since);
  } else {
    Http2Guard::Output out{.to_client = std::move(client_.unsent), .to_server = {}};
    const Misbehaviour why = guard_.Check(now, out);
    client_.unsent = std::move(out.to_client);
    server_.unsent = std::move(out.to_server);
    if (why != Misbehaviour::kNone) return Close(why);
  }
  Settle(now);
}

void Connection::Close(Misbehaviour why) {
  if (closed_) return;
  closed_ = true;
  misbehaviour_ = why;
  if (why != Misbehaviour::kNone) {
    // In the middle of a frame a GOAWAY would be garbage; the client sees the close itself.
    const std::string words = guard_.GoAway(why);
    (void)!send(client_.fd.get(), words.data(), words.size(), MSG_NOSIGNAL);
    shutdown(client_.fd.get(), SHUT_WR);
  }
  client_.fd.Reset();
  std::string().swap(client_.unsent);
  std::string().swap(server_.unsent);
  if (grpc_end_.valid() || server_.ended) {
    over_ = true;
    return;
  }
  to_clear_ = guard_.work_left();
  shared_.use.ending += to_clear_;
  address_.ending += to_clear_;
  shutdown(server_.fd.get(), SHUT_WR);
  Watch(server_, EPOLLIN);
  Discard();
}

void Connection::Discard() {
  ssize_t n = 0;
  do {
    n = recv(server_.fd.get(), shared_.scratch.data(), shared_.scratch.size(), 0);
  } while (n > 0);
  if (n == 0 || (errno != EAGAIN && errno != EINTR)) over_ = true;
}

}  // namespace longhaul
