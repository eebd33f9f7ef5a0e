#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "server/front/front.h"
#include "server/grpc/admin_service.h"
#include "server/grpc/inference_service.h"
#include "server/health/health_endpoint.h"
#include "server/lifecycle/server_state.h"
#include "server/metrics/rpc_metrics.h"

namespace longhaul {

struct ServerOptions {
  std::string listen = "127.0.0.1:50051";  // port 0: a free one
  FrontLimits front = {};
  int64_t max_message_bytes = 0;  // 0: what the longest text that the model can be asked about may take
  std::chrono::milliseconds keepalive_time{
      30000};  // a client is pinged after so long a silence; it is gone if it does not answer within a third of it
  std::chrono::milliseconds stall_timeout{60000};  // see CallLimits
  RpcMetrics* rpc_metrics = nullptr;               // counts the RPCs, if any; not owned, outlives the server
  HealthEndpoint* health =
      nullptr;  // kept equal to what grpc.health.v1 says here; may be null; not owned, outlives the server

  // Bytes that the messages of requests that wait may hold together: eight of the largest, of one address four.
  int64_t message_budget() const { return kMessageBudget * max_message(); }
  static constexpr int64_t kMessageBudget = 8;

  // Of a message; a guess while no model is there to tell.
  int64_t max_message() const { return max_message_bytes > 0 ? max_message_bytes : int64_t{32} << 20; }
};

// A gRPC server behind a front, with InferenceService, AdminService, grpc.health.v1 and reflection.
class Server {
 public:
  // Listens at once, NOT_SERVING until Serve. UNAVAILABLE when the address cannot be bound.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const ServerOptions& options);
  // As Drain with a timeout of 0.
  ~Server();

  int port() const { return front_->port(); }
  const Front& front() const { return *front_; }
  // Any thread.
  ServerState state() const { return state_.load(); }

  // Answers with `engine`, which is not owned and outlives this, and says SERVING.
  void Serve(Engine& engine);

  // Says NOT_SERVING, lets running requests finish and their last messages arrive for at most `timeout`, ends what is
  // left with UNAVAILABLE, then stops. Whether all finished by themselves.
  bool Drain(std::chrono::milliseconds timeout);

 private:
  explicit Server(const ServerOptions& options)
      : options_(options),
        limits_(options.message_budget(), options.stall_timeout),
        service_(limits_),
        admin_(limits_) {}
  void SetServing(bool serving);

  // Bounds what calls and connections hold, by the largest message.
  void SetLimits(int64_t max_message_bytes);

  const ServerOptions options_;
  grpc::ResourceQuota quota_;
  CallLimits limits_;
  InferenceService service_;
  AdminService admin_;
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<Front> front_;  // hands connections over to the two
  Engine* engine_ = nullptr;
  std::atomic<ServerState> state_{ServerState::kLoading};
};

}  // namespace longhaul
