#include "server/front/connection.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>

#include "server/front/frame_writer.h"

namespace longhaul {
namespace {

constexpr size_t kKeptBytes = 1 << 10;

// What one side has left to say when the other has ended; a client that takes none of it for so long is dropped.
constexpr std::chrono::seconds kLinger{30};

}  // namespace

Connection::Connection(int epoll, std::span<char> scratch, Descriptor client, Descriptor server, AddressUse& address,
                       const FrontLimits& limits, SharedUse& shared, TimePoint now)
    : epoll_(epoll),
      scratch_(scratch),
      address_(address),
      guard_(limits, shared, address, now),
      client_{.fd = std::move(client), .endpoint = {this, Side::kClient}},
      server_{.fd = std::move(server), .endpoint = {this, Side::kServer}} {
  Watch(client_, EPOLLIN);
  Watch(server_, EPOLLIN);
}

Connection::~Connection() = default;  // closing a descriptor ends its being watched

void Connection::Watch(End& end, uint32_t events) {
  if (!end.fd.valid() || end.watched == events) return;
  epoll_event event{.events = events, .data = {.ptr = &end.endpoint}};
  const int what = end.watched == 0 ? EPOLL_CTL_ADD : events == 0 ? EPOLL_CTL_DEL : EPOLL_CTL_MOD;
  if (epoll_ctl(epoll_, what, end.fd.get(), &event) != 0) return Close(Misbehaviour::kNone);
  end.watched = events;
}

void Connection::OnEvents(Side side, uint32_t events, TimePoint now) {
  if (closed_) return;
  if (side == Side::kClient && (events & (EPOLLERR | EPOLLHUP)) != 0) return Close(Misbehaviour::kNone);
  if ((events & (EPOLLERR | EPOLLHUP)) != 0) server_gone_ = true;
  if ((events & EPOLLIN) != 0) Read(side, now);
  Settle(now);
}

bool Connection::Read(Side side, TimePoint now) {
  End& from = end(side);
  const ssize_t n = recv(from.fd.get(), scratch_.data(), scratch_.size(), 0);
  if (n < 0) {
    if (errno != EAGAIN && errno != EINTR) Close(Misbehaviour::kNone);
    return false;
  }
  if (n == 0) {
    from.ended = true;
    return false;
  }
  const std::string_view bytes(scratch_.data(), static_cast<size_t>(n));
  Http2Guard::Output out{.to_client = std::move(client_.unsent), .to_server = std::move(server_.unsent)};
  const Misbehaviour why =
      side == Side::kClient ? guard_.FromClient(bytes, now, out) : guard_.FromServer(bytes, now, out);
  client_.unsent = std::move(out.to_client);
  server_.unsent = std::move(out.to_server);
  if (why != Misbehaviour::kNone) Close(why);
  return true;
}

void Connection::Send(End& end) {
  if (end.unsent.empty() || !end.fd.valid()) return;
  const ssize_t n = send(end.fd.get(), end.unsent.data(), end.unsent.size(), MSG_NOSIGNAL);
  if (n >= 0) {
    end.unsent.erase(0, static_cast<size_t>(n));
    // Thousands of connections that are idle hold no buffers.
    if (end.unsent.empty() && end.unsent.capacity() > kKeptBytes) std::string().swap(end.unsent);
  } else if (errno != EAGAIN && errno != EINTR) {
    // gRPC may have closed with its last words unread.
    if (&end == &client_) return Close(Misbehaviour::kNone);
    server_gone_ = true;
    end.unsent.clear();
  }
}

void Connection::Settle(TimePoint now) {
  Send(server_);
  Send(client_);
  // Nobody tells again that gRPC has closed: read what it left while the client takes it.
  while (!closed_ && server_gone_ && !server_.ended && client_.unsent.empty()) {
    if (!Read(Side::kServer, now)) server_.ended = true;
    Send(client_);
  }
  if (closed_) return;
  if (client_.ended && server_.unsent.empty() && !server_gone_) shutdown(server_.fd.get(), SHUT_WR);
  if (server_.ended && client_.unsent.empty()) return Close(Misbehaviour::kNone);
  if ((client_.ended || server_.ended) && !ending_.has_value()) ending_ = now;
  Watch(client_, (server_.unsent.empty() && !client_.ended && !server_.ended ? EPOLLIN : 0u) |
                     (client_.unsent.empty() ? 0u : EPOLLOUT));
  Watch(server_, server_gone_ ? 0u
                              : (client_.unsent.empty() && !server_.ended ? EPOLLIN : 0u) |
                                    (server_.unsent.empty() ? 0u : EPOLLOUT));
}

void Connection::Check(TimePoint now) {
  if (closed_) return;
  if (ending_.has_value() && now - *ending_ > kLinger) return Close(Misbehaviour::kNone);
  // What gRPC does not take is not the client's fault.
  if (!server_.unsent.empty()) return;
  Http2Guard::Output out{.to_client = std::move(client_.unsent), .to_server = {}};
  const Misbehaviour why = guard_.Check(now, out);
  client_.unsent = std::move(out.to_client);
  server_.unsent = std::move(out.to_server);
  if (why != Misbehaviour::kNone) return Close(why);
  Settle(now);
}

void Connection::Close(Misbehaviour why) {
  if (closed_) return;
  closed_ = true;
  misbehaviour_ = why;
  if (why == Misbehaviour::kNone || !client_.fd.valid()) return;
  // In the middle of a frame it means nothing, and the client knows even so.
  const std::string words = guard_.GoAway(why);
  (void)!send(client_.fd.get(), words.data(), words.size(), MSG_NOSIGNAL);
  shutdown(client_.fd.get(), SHUT_WR);
}

}  // namespace longhaul
