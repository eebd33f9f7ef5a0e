#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <memory>

#include "engine/engine.h"
#include "longhaul/v1/inference.grpc.pb.h"
#include "server/grpc/call_limits.h"
#include "server/grpc/event_pump.h"

namespace longhaul {

// InferenceService over an Engine. The methods are raw, so that a message that does not parse (a string that is not
// UTF-8, say) gets INVALID_ARGUMENT and not gRPC's own UNIMPLEMENTED.
class InferenceService
    : public v1::InferenceService::WithRawCallbackMethod_Generate<v1::InferenceService::WithRawCallbackMethod_Score<
          v1::InferenceService::WithRawCallbackMethod_Tokenize<v1::InferenceService::WithRawCallbackMethod_Detokenize<
              v1::InferenceService::WithRawCallbackMethod_GetModel<v1::InferenceService::Service>>>>> {
 public:
  // `limits` is not owned.
  explicit InferenceService(CallLimits& limits) : limits_(limits) {}
  ~InferenceService() override { pump_->Stop(); }

  // Answers UNAVAILABLE until it has an engine. The engine is not owned; it outlives every RPC.
  void SetEngine(Engine* engine) { engine_.store(engine); }

  grpc::ServerWriteReactor<grpc::ByteBuffer>* Generate(grpc::CallbackServerContext* context,
                                                       const grpc::ByteBuffer* request) override;
  grpc::ServerWriteReactor<grpc::ByteBuffer>* Score(grpc::CallbackServerContext* context,
                                                    const grpc::ByteBuffer* request) override;
  grpc::ServerUnaryReactor* Tokenize(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                     grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* Detokenize(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                       grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* GetModel(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                                     grpc::ByteBuffer* response) override;

 private:
  template <typename Request, typename Response>
  grpc::ServerWriteReactor<grpc::ByteBuffer>* Stream(grpc::CallbackServerContext* context,
                                                     const grpc::ByteBuffer* request);
  CallLimits& limits_;
  std::atomic<Engine*> engine_{nullptr};
  // Shared with who leaves notes: the engine may tell of an answer whose RPC is over already.
  const std::shared_ptr<EventPump> pump_ = std::make_shared<EventPump>();
};

}  // namespace longhaul
