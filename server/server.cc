#include "server/server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/quoted.h"

namespace longhaul {

namespace {

// A client that is lost without a word (a cable, a crash of its machine) is noticed: its requests would hold their
// cache until a write fails, and one that waits writes nothing. Clients may do the same to us.
void KeepAlive(grpc::ServerBuilder& builder, std::chrono::milliseconds time) {
  constexpr int kShortestPingInterval = 5000;
  const int milliseconds = static_cast<int>(time.count());
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, milliseconds);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, milliseconds / 3);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, kShortestPingInterval);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const ServerOptions& options) {
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  auto server = std::unique_ptr<Server>(new Server(options));
  grpc::ServerBuilder builder;
  // Two servers on one port would share its clients silently.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddListeningPort(options.listen, grpc::InsecureServerCredentials(), &server->port_);
  builder.SetMaxReceiveMessageSize(static_cast<int>(options.max_message_bytes));
  KeepAlive(builder, options.keepalive_time);
  builder.RegisterService(&server->service_);
  builder.RegisterService(&server->admin_);
  if (options.rpc_metrics != nullptr) {
    std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> interceptors;
    interceptors.push_back(options.rpc_metrics->MakeInterceptors());
    builder.experimental().SetInterceptorCreators(std::move(interceptors));
  }
  server->server_ = builder.BuildAndStart();
  if (server->server_ == nullptr || server->port_ == 0) {
    return absl::UnavailableError(
        absl::StrCat("--listen: cannot listen on ", Quoted(options.listen),
                     ": it must be HOST:PORT, an address of this host and a port that is not in use"));
  }
  server->SetServing(false);
  return server;
}

Server::~Server() {
  if (server_ == nullptr) return;  // it never listened
  if (state_ == ServerState::kReady) Drain(std::chrono::milliseconds(0));
  server_->Shutdown(std::chrono::system_clock::now());
  server_->Wait();
}

void Server::SetServing(bool serving) {
  grpc::HealthCheckServiceInterface* const health = server_->GetHealthCheckService();
  health->SetServingStatus(serving);
  health->SetServingStatus(v1::InferenceService::service_full_name(), serving);
}

void Server::Serve(Engine& engine) {
  engine_ = &engine;
  service_.SetEngine(&engine);
  admin_.SetEngine(&engine);
  state_ = ServerState::kReady;
  SetServing(true);
}

bool Server::Drain(std::chrono::milliseconds timeout) {
  const auto deadline = std::chrono::system_clock::now() + timeout;
  state_ = ServerState::kDraining;
  SetServing(false);
  const bool all_finished = engine_ == nullptr || engine_->Drain(timeout);
  // The last messages are still on their way to the clients, those of requests that were ended too. gRPC ends with
  // UNAVAILABLE what nobody has taken by then.
  constexpr std::chrono::seconds kLastMessages{2};
  server_->Shutdown(std::max(deadline, std::chrono::system_clock::now() + kLastMessages));
  return all_finished;
}

}  // namespace longhaul
