#pragma once

#include <sys/socket.h>

#include <chrono>
#include <cstdint>

#include "absl/functional/function_ref.h"
#include "server/sockets/descriptor.h"
#include "server/sockets/listening_sockets.h"

namespace longhaul {

// Accepts clients on some listening sockets even when the process is short of descriptors or memory. It keeps one
// descriptor in reserve, with which a client can be accepted when there is no other. Where even that is used up it
// pauses, so that waiting clients do not make it spin. One thread; time is passed in.
class Acceptor {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  struct Client {
    Descriptor socket;  // does not block
    sockaddr_storage address{};
    // By the descriptor that was kept back: until this or another one is closed there is none for the next.
    bool by_spare = false;
  };
  using Take = absl::FunctionRef<void(Client client)>;
  // Frees a descriptor or memory at once. False when there is nothing to free, or it takes a while.
  using MakeRoom = absl::FunctionRef<bool()>;

  static constexpr std::chrono::milliseconds kRest{100};

  // From now on `epoll` tells of clients that wait, with this acceptor as data.ptr.
  // `at_a_time`: clients of a socket that are taken before others have a turn.
  Acceptor(ListeningSockets listening, int epoll, int at_a_time = 64);
  // Closes.
  ~Acceptor();
  Acceptor(const Acceptor&) = delete;
  Acceptor& operator=(const Acceptor&) = delete;

  int port() const { return listening_.port; }
  const sockaddr_storage& address() const { return listening_.address; }

  // Accepts the clients that wait, a bounded number of each socket, so that open connections have their turn.
  void Accept(TimePoint now, Take take, MakeRoom make_room);

  // Resumes after a pause, and restores the reserved descriptor. To be called at every turn of the event loop, which
  // waits for kRest at most while this pauses.
  void Turn(TimePoint now);
  bool rests() const { return rests_; }

  // Takes no more clients, for good, and removes the file of a unix socket.
  void Close();

 private:
  void AcceptFrom(int listener, TimePoint now, Take take, MakeRoom make_room);
  void Watch(bool watch);
  void KeepSpare();

  ListeningSockets listening_;
  const int epoll_, at_a_time_;
  Descriptor spare_;
  bool rests_ = false;
  TimePoint rest_ends_;
};

}  // namespace longhaul
