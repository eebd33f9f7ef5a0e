#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "engine/base/counter.h"
#include "engine/base/mutex.h"
#include "server/front/connection.h"
#include "server/front/front_limits.h"
#include "server/sockets/acceptor.h"

namespace longhaul {

// Accepts connections, bounds them, and forwards between each client and gRPC what a guard lets through. gRPC's own
// accept loop ends for good when descriptors run out, and it bounds little of what a client may send. Runs on one
// thread of its own, which never waits for a client or for gRPC.
class Front {
 public:
  using Clock = std::chrono::steady_clock;
  // Takes a socket over, whose other end is the front's, and serves HTTP/2 on it. Called on the front's thread.
  using HandOver = std::function<void(int fd)>;

  // Listens at once. UNAVAILABLE, with the reason, when the address cannot be bound. `max_message_bytes`: until
  // SetMaxMessageBytes.
  static absl::StatusOr<std::unique_ptr<Front>> Start(const std::string& listen, const FrontLimits& limits,
                                                      int64_t max_message_bytes, HandOver hand_over);
  // Closes all connections.
  ~Front();
  Front(const Front&) = delete;
  Front& operator=(const Front&) = delete;

  int port() const { return acceptor_.port(); }  // 0 for a unix socket
  const sockaddr_storage& address() const { return acceptor_.address(); }
  // With the values that were chosen for limits of 0.
  const FrontLimits& limits() const { return shared_.limits; }
  const FrontUse& use() const { return shared_.use; }

  void SetMaxMessageBytes(int64_t bytes) { shared_.use.max_message_bytes = bytes; }

  // Takes no more connections; those that gRPC has go on. When it returns, nothing is handed over any more.
  // At `end` all are closed, even those of clients that read nothing.
  void StopListening(Clock::time_point end);
  // Waits until all connections are over, or until `deadline`. gRPC, shutting down, ends them.
  void AwaitEnd(Clock::time_point deadline);

 private:
  Front(ListeningSockets listening, const FrontLimits& limits, int64_t max_message_bytes, HandOver hand_over);
  void Run();
  void Take(Acceptor::Client client, Clock::time_point now);
  void Refuse(Descriptor client, ConnectionRefusal why, const std::string& text);
  void OnEvent(void* what, uint32_t events, Clock::time_point now);
  void Check(Clock::time_point now);
  // Has `action` done to a connection, which is dropped where there is no memory for that.
  void Use(Connection& connection, absl::FunctionRef<void()> action);
  // Destroys the connections of `over_`, having counted why they were closed.
  void Reap();
  void Wake();

  Connection::Shared shared_;
  Descriptor epoll_, wake_;
  Acceptor acceptor_;
  const uint64_t random_name_;
  int64_t next_number_ = 0;
  std::map<std::string, AddressUse> addresses_;  // by host; those that have a connection or had one just now
  std::unordered_map<Connection*, std::unique_ptr<Connection>> connections_;
  std::vector<Connection*> over_;  // some perhaps more than once
  Mutex mutex_;
  CondVar changed_;
  bool stop_listening_ ABSL_GUARDED_BY(mutex_) = false, listening_stopped_ ABSL_GUARDED_BY(mutex_) = false;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  Clock::time_point end_ ABSL_GUARDED_BY(mutex_) = Clock::time_point::max();
  std::thread thread_;
};

// Raises this process's soft limit of open descriptors to the hard one; returns what it is then.
int64_t RaiseDescriptorLimit();

}  // namespace longhaul
