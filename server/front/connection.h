#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "server/front/descriptor.h"
#include "server/front/http2_guard.h"

namespace longhaul {

// One client: its socket, the end of a pair of which gRPC has the other, and what is on the way between them. What one
// side sends is read only when all of it before has been taken by the other, so that at most one read of each side
// is held. Driven by the front's event loop, on its thread.
class Connection {
 public:
  using TimePoint = Http2Guard::TimePoint;
  enum class Side : uint8_t { kClient, kServer };

  // An end of the connection as the event loop knows it.
  struct Endpoint {
    Connection* connection;
    Side side;
  };

  // Both sockets do not block and are watched by `epoll` until they are closed. `scratch` is what reads go into, shared
  // by all connections of the thread; it, `address` and what else the guard needs outlive this.
  Connection(int epoll, std::span<char> scratch, Descriptor client, Descriptor server, AddressUse& address, const FrontLimits& limits,
             SharedUse& shared, TimePoint now);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Something happened to a side (events as epoll_wait gives them).
  void OnEvents(Side side, uint32_t events, TimePoint now);

  // Looks for what has taken too long.
  void Check(TimePoint now);

  // Whether it is over and may be destroyed.
  bool closed() const { return closed_; }
  // Why it was closed where the client misbehaved.
  Misbehaviour misbehaviour() const { return misbehaviour_; }
  AddressUse& address() { return address_; }

 private:
  struct End {
    Descriptor fd;
    Endpoint endpoint;
    uint32_t watched = 0;
    bool ended = false;  // sends nothing more
    std::string unsent = {};  // what it has not taken yet
  };

  End& end(Side side) { return side == Side::kClient ? client_ : server_; }
  // Reads once and passes it on. Whether there was something.
  bool Read(Side side, TimePoint now);
  void Send(End& end);
  // Sends what there is, closes what is over, and has epoll watch for what is waited for.
  void Settle(TimePoint now);
  void Watch(End& end, uint32_t events);
  void Close(Misbehaviour why);

  const int epoll_;
  const std::span<char> scratch_;
  AddressUse& address_;
  Http2Guard guard_;
  End client_, server_;
  bool server_gone_ = false;        // closed by gRPC; what it sent before may still be there
  std::optional<TimePoint> ending_;  // since when one side has ended
  bool closed_ = false;
  Misbehaviour misbehaviour_ = Misbehaviour::kNone;
};

}  // namespace longhaul
