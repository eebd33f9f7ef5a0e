#include "server/server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/address_space.h"
#include "engine/base/log.h"
#include "engine/base/memory_limit.h"
#include "engine/base/quoted.h"
#include "server/grpc/reflection_watch.h"

namespace longhaul {

namespace {

// Keepalive pings notice a client that is lost without closing its connection (a cable, a crash of its machine): its
// requests would hold their cache until a write fails, and a request that waits writes nothing. Clients may ping too.
void KeepAlive(grpc::ServerBuilder& builder, std::chrono::milliseconds time) {
  constexpr int kShortestPingInterval = 5000;
  const int milliseconds = static_cast<int>(time.count());
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, milliseconds);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, milliseconds / 3);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, kShortestPingInterval);
}

// A small message that inflates to gigabytes would be inflated before its size is looked at.
void OnlyIdentity(grpc::ServerBuilder& builder) {
  for (const grpc_compression_algorithm algorithm : {GRPC_COMPRESS_DEFLATE, GRPC_COMPRESS_GZIP}) {
    builder.SetCompressionAlgorithmSupportStatus(algorithm, false);
  }
}

// Of any message that asks for something: a text whose tokens fill the cache, and some room for what else it says; at
// least what Tokenize takes.
int64_t MaxMessageBytes(const ModelInfo& model) {
  constexpr int64_t kRoom = 1 << 20, kTokenizeBytes = 8 << 20, kMax = 256 << 20;
  return kRoom + std::clamp(model.cache_tokens * model.longest_token, kTokenizeBytes, kMax);
}

// As many of `wanted` bytes of a message as there is address space for, where that is limited: gRPC ends the process
// where it finds none for what arrives.
int64_t AffordableMessageBytes(int64_t wanted) {
  constexpr int64_t kPart = 2 * (ServerOptions::kMessageBudget + FrontUse::kUploads);
  return std::min(wanted, AddressSpaceLeft().value_or(std::numeric_limits<int64_t>::max()) / kPart);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const ServerOptions& options) {
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  auto server = std::unique_ptr<Server>(new Server(options));
  grpc::ServerBuilder builder;
  server->acceptor_ = builder.experimental().AddExternalConnectionAcceptor(
      grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD, grpc::InsecureServerCredentials());
  // The front enforces the bounds of messages and streams, earlier and with a better message.
  builder.SetMaxReceiveMessageSize(std::numeric_limits<int>::max());
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, static_cast<int>(options.front.max_connection_streams));
  // No compression table: headers then refer to no earlier ones, and the front can answer a call in gRPC's place.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_HPACK_TABLE_SIZE_DECODER, 0);
  OnlyIdentity(builder);
  const int64_t max_message_bytes = AffordableMessageBytes(options.max_message());
  server->SetLimits(max_message_bytes);
  builder.SetResourceQuota(server->quota_);
  KeepAlive(builder, options.keepalive_time);
  builder.RegisterService(&server->service_);
  builder.RegisterService(&server->admin_);
  std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> interceptors;
  if (options.rpc_metrics != nullptr) interceptors.push_back(options.rpc_metrics->MakeInterceptors());
  interceptors.push_back(WatchReflection(server->limits_.stalls));
  builder.experimental().SetInterceptorCreators(std::move(interceptors));
  server->server_ = builder.BuildAndStart();
  if (server->server_ == nullptr) return absl::InternalError("gRPC could not start a server");
  const auto hand_over = [acceptor = server->acceptor_.get()](int fd) {
    grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters connection;
    connection.fd = fd;
    acceptor->HandleNewConnection(&connection);
  };
  absl::StatusOr<std::unique_ptr<Front>> front =
      Front::Start(options.listen, options.front, max_message_bytes, hand_over);
  if (!front.ok()) {
    return absl::UnavailableError(
        absl::StrCat("--listen: cannot listen on ", Quoted(options.listen),
                     ": it must be HOST:PORT, an address of this host and a port that is not in use (",
                     front.status().message(), ")"));
  }
  server->front_ = *std::move(front);
  server->SetServing(false);
  return server;
}

Server::~Server() {
  if (server_ == nullptr) return;  // it never listened
  if (state_ == ServerState::kReady) Drain(std::chrono::milliseconds(0));
  if (front_ != nullptr) front_->StopListening(Front::Clock::now());
  server_->Shutdown(std::chrono::system_clock::now());
  server_->Wait();
}

void Server::SetServing(bool serving) {
  grpc::HealthCheckServiceInterface* const health = server_->GetHealthCheckService();
  health->SetServingStatus(serving);
  health->SetServingStatus(v1::InferenceService::service_full_name(), serving);
  if (options_.health != nullptr) options_.health->SetServing(serving);
}

void Server::SetLimits(int64_t max_message_bytes) {
  // Beside messages: streams take some 35 KB each.
  constexpr int64_t kStreamBytes = 64 << 10;
  const int64_t budget = ServerOptions::kMessageBudget * max_message_bytes;
  // Keep address space for messages that arrive: gRPC aborts where it finds none.
  constexpr int64_t kReserve = 32 << 20;
  SetAddressSpaceReserve(FrontUse::kUploads * max_message_bytes + kReserve);
  quota_.Resize(
      static_cast<size_t>(budget + FrontUse::kUploads * max_message_bytes + kStreamBytes * options_.front.max_streams));
  // Reflection, the one service that is not of the callback kind, takes a thread for each stream; see WatchReflection.
  constexpr int kReflectionThreads = 16, kPollingThreads = 1;
  quota_.SetMaxThreads(kReflectionThreads + kPollingThreads);
  limits_.budget.SetLimit(budget);
  if (front_ != nullptr) front_->SetMaxMessageBytes(max_message_bytes);
}

void Server::Serve(Engine& engine) {
  engine_ = &engine;
  const int64_t wanted = options_.max_message_bytes > 0 ? options_.max_message_bytes : MaxMessageBytes(engine.model());
  const int64_t affordable = AffordableMessageBytes(wanted);
  if (affordable < wanted) {
    LogWarning("--max-message-size: ", affordable, " bytes instead of ", wanted,
               ", for want of address space (ulimit -v)");
  }
  SetLimits(affordable);
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
  const auto last = std::max(deadline, std::chrono::system_clock::now() + kLastMessages);
  const Front::Clock::time_point end = Front::Clock::now() + (last - std::chrono::system_clock::now());
  front_->StopListening(end);
  server_->Shutdown(last);
  front_->AwaitEnd(end);
  return all_finished;
}

}  // namespace longhaul
