#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "server/admin_service.h"
#include "server/inference_service.h"
#include "server/rpc_metrics.h"
#include "server/server_state.h"

namespace longhaul {

struct ServerOptions {
  std::string listen = "127.0.0.1:50051";  // port 0: a free one
  int64_t max_message_bytes = 64 << 20;
  std::chrono::milliseconds keepalive_time{
      30000};  // a client is pinged after so long a silence; it is gone if it does not answer within a third of it
  std::chrono::milliseconds stall_timeout{60000};  // see CallLimits
  RpcMetrics* rpc_metrics = nullptr;               // counts the RPCs, if any; not owned, outlives the server

  // Bytes that the messages of requests that wait may hold together: four of the largest.
  int64_t message_budget() const { return 4 * max_message_bytes; }
};

// A gRPC server with InferenceService, AdminService, grpc.health.v1 and reflection.
class Server {
 public:
  // Listens at once, NOT_SERVING until Serve. UNAVAILABLE when the address cannot be bound.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const ServerOptions& options);
  // Ends what runs, as Drain without any time.
  ~Server();

  int port() const { return port_; }
  // Any thread.
  ServerState state() const { return state_.load(); }

  // Answers with `engine`, which is not owned and outlives this, and says SERVING.
  void Serve(Engine& engine);

  // Says NOT_SERVING, lets running requests finish and their last messages arrive for at most `timeout`, ends what is
  // left with UNAVAILABLE, then stops. Whether all finished by themselves.
  bool Drain(std::chrono::milliseconds timeout);

 private:
  explicit Server(const ServerOptions& options)
      : limits_(options.message_budget(), options.stall_timeout), service_(limits_), admin_(limits_) {}
  void SetServing(bool serving);

  CallLimits limits_;
  InferenceService service_;
  AdminService admin_;
  std::unique_ptr<grpc::Server> server_;
  Engine* engine_ = nullptr;
  std::atomic<ServerState> state_{ServerState::kLoading};
  int port_ = 0;
};

}  // namespace longhaul
