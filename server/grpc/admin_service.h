#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>

#include "engine/engine.h"
#include "longhaul/v1/admin.grpc.pb.h"
#include "server/grpc/call_limits.h"

namespace longhaul {

// AdminService over an Engine; raw as InferenceService.
class AdminService : public v1::AdminService::WithRawCallbackMethod_ListRequests<
                         v1::AdminService::WithRawCallbackMethod_CancelRequest<v1::AdminService::Service>> {
 public:
  // `limits` is not owned.
  explicit AdminService(CallLimits& limits) : limits_(limits) {}

  // Answers UNAVAILABLE until it has an engine. The engine is not owned; it outlives every RPC.
  void SetEngine(Engine* engine) { engine_.store(engine); }

  grpc::ServerUnaryReactor* ListRequests(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                         grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* CancelRequest(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                          grpc::ByteBuffer* response) override;

 private:
  CallLimits& limits_;
  std::atomic<Engine*> engine_{nullptr};
};

}  // namespace longhaul
