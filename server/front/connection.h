#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "server/front/http2_guard.h"
#include "server/sockets/descriptor.h"

namespace longhaul {

// One client: its socket, the end of a pair of which gRPC gets the other, and what is on the way between them. What one
// side sends is read only when all of it before has been taken by the other, so that at most one read of each side
// is held. gRPC gets its end once the client has sent the HTTP/2 preface, and the connection is over when gRPC has
// closed it: only then has gRPC cleaned up all that the client made it begin. Driven by the front's event loop, on its
// thread.
class Connection {
 public:
  using TimePoint = Http2Guard::TimePoint;
  enum class Side : uint8_t { kClient, kServer };

  // An end of the connection as the event loop knows it.
  struct Endpoint {
    Connection* connection;
    Side side;
  };

  // What all connections of a front share; outlives them.
  struct Shared {
    int epoll = -1;
    std::vector<char> scratch;  // what reads go into
    FrontLimits limits;
    FrontUse use;
    std::function<void(int fd)> hand_over;  // gives gRPC its end
  };

  // None of the sockets blocks. `address` outlives this.
  Connection(Shared& shared, Descriptor client, Descriptor server, Descriptor grpc_end, AddressUse& address,
             TimePoint now);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Handles events of a side, as epoll_wait reports them.
  void OnEvents(Side side, uint32_t events, TimePoint now);

  // Applies the time limits, and resumes what was held up.
  void Check(TimePoint now);

  // Closes the client's socket, and waits for gRPC to clean up what it holds of the client.
  void Close(Misbehaviour why);

  // Ends a connection that gRPC has not been given yet.
  void CloseUnlessHandedOver() {
    if (grpc_end_.valid()) Close(Misbehaviour::kNone);
  }

  // Ends it where there was no memory to go on: what was on the way may be half lost. Throws nothing.
  void Drop() { Close(Misbehaviour::kNone); }

  // Whether it is over and may be destroyed.
  bool over() const { return over_; }
  // Why it was closed where the client misbehaved.
  Misbehaviour misbehaviour() const { return misbehaviour_; }

 private:
  struct End {
    Descriptor fd;
    Endpoint endpoint;
    uint32_t watched = 0;
    bool ended = false;       // sends nothing more
    std::string unsent = {};  // what it has not taken yet
  };

  // Reads once and passes it on. Whether there was something.
  bool Read(End& from, TimePoint now);
  void Send(End& end, TimePoint now);
  // Sends what there is, closes what is over, and has epoll watch for what is waited for.
  void Settle(TimePoint now);
  void Watch(End& end, uint32_t events);
  // Reads what gRPC still writes to a client that has gone, until it closes.
  void Discard();
  // Whether gRPC has so much to clean up after this client's connections, or after all, that it must get no more.
  bool HeldUp() const;

  Shared& shared_;
  AddressUse& address_;
  Http2Guard guard_;
  End client_, server_;
  Descriptor grpc_end_;       // until it is handed over
  bool server_gone_ = false;  // closed by gRPC; what it sent before may still be there
  TimePoint last_check_;
  TimePoint last_taken_;             // when the client last took all, or some, of what waited for it
  std::optional<TimePoint> ending_;  // since when one side has ended
  bool closed_ = false;              // the client has been dropped
  int64_t to_clear_ = 0;             // counted as `ending` since then
  bool over_ = false;
  Misbehaviour misbehaviour_ = Misbehaviour::kNone;
};

}  // namespace longhaul
