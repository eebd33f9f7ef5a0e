#pragma once

#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/exceptions.h"
#include "engine/base/status_macros.h"
#include "engine/base/stop_condition.h"
#include "engine/engine.h"
#include "server/grpc/call_limits.h"
#include "server/grpc/raw_message.h"
#include "server/status/status_conversion.h"

namespace longhaul {

// Whether the budget of messages must have room for a call. kAlways: of those that make room, and are small.
enum class Admission { kWhereThereIsRoom, kAlways };

// A call of a raw unary method: TakeRequest, then Answer or Refuse, once each; any thread. Its share of the budget
// covers the request until there is an answer, and then that, until gRPC has sent it or given it up.
class UnaryReactor final : public grpc::ServerUnaryReactor {
 public:
  // None is owned. `engine`: null while there is none.
  UnaryReactor(CallLimits& limits, Engine* engine, grpc::CallbackServerContext& context, grpc::ByteBuffer& response,
               Admission admission = Admission::kWhereThereIsRoom)
      : limits_(limits), engine_(engine), context_(context), response_(response), admission_(admission) {}

  // Parses it; see TakeMessage. UNAVAILABLE without an engine, an Overload when the budget has no room.
  template <typename Request>
  absl::StatusOr<Request> TakeRequest(const grpc::ByteBuffer& buffer) {
    if (engine_ == nullptr) return Loading();
    LH_ASSIGN_OR_RETURN(share_, TakeShare(static_cast<int64_t>(buffer.Length())));
    return TakeMessage<Request>(buffer);
  }

  // Has `work(response)` fill the answer, then ends the call: with the answer, or with the status of `work`. Throws
  // nothing. REQUIRES: the request has gone when `work` returns.
  template <typename Response>
  void Answer(absl::FunctionRef<absl::Status(Response& response)> work) {
    const absl::Status status = CatchExceptions([&]() -> absl::Status {
      Response response;
      LH_RETURN_IF_ERROR(work(response));
      share_.Release();
      LH_ASSIGN_OR_RETURN(share_, TakeShare(static_cast<int64_t>(response.ByteSizeLong())));
      Serialize(response, response_);
      watched_ = limits_.stalls.Watch(context_);
      return absl::OkStatus();
    });
    if (status.ok()) {
      Finish(grpc::Status::OK);
    } else {
      Refuse(status);
    }
  }

  // Ends the call without an answer.
  void Refuse(const absl::Status& status) {
    share_.Release();
    Finish(ToGrpc(status));
  }

  void OnDone() override { delete this; }

 private:
  absl::StatusOr<RequestBudget::Share> TakeShare(int64_t bytes) {
    if (holder_ == nullptr) holder_ = limits_.budget.HolderOf(context_.peer());
    if (admission_ == Admission::kAlways) return limits_.budget.Hold(holder_, bytes);
    return limits_.budget.Take(holder_, bytes, [this] { return engine_->Stats().retry_after; });
  }

  CallLimits& limits_;
  Engine* const engine_;
  grpc::CallbackServerContext& context_;
  grpc::ByteBuffer& response_;
  const Admission admission_;
  RequestBudget::Holder holder_;
  RequestBudget::Share share_;
  StallWatch::Watched watched_;
};

// Parses, then calls `work(engine, request, response)`, which is short and returns a status.
template <typename Request, typename Response, typename Work>
grpc::ServerUnaryReactor* AnswerUnary(CallLimits& limits, Engine* engine, grpc::CallbackServerContext* context,
                                      const grpc::ByteBuffer* buffer, grpc::ByteBuffer* response_buffer, Work work,
                                      Admission admission = Admission::kWhereThereIsRoom) {
  auto* const reactor = new UnaryReactor(limits, engine, *context, *response_buffer, admission);
  reactor->Answer<Response>([&](Response& response) -> absl::Status {
    LH_ASSIGN_OR_RETURN(const Request request, reactor->TakeRequest<Request>(*buffer));
    return work(*engine, request, response);
  });
  return reactor;
}

// Parses and calls `check(request)`; unless that refuses it, the text pool calls `work(engine, request, stopped,
// response)`, to which the request is given away; both return a status.
template <typename Request, typename Response, typename Check, typename Work>
grpc::ServerUnaryReactor* AnswerUnaryOnTextPool(CallLimits& limits, Engine* engine,
                                                grpc::CallbackServerContext* context, const grpc::ByteBuffer* buffer,
                                                grpc::ByteBuffer* response_buffer, Check check, Work work) {
  auto* const reactor = new UnaryReactor(limits, engine, *context, *response_buffer);
  const absl::Status status = CatchExceptions([&]() -> absl::Status {
    LH_ASSIGN_OR_RETURN(Request request, reactor->TakeRequest<Request>(*buffer));
    LH_RETURN_IF_ERROR(check(request));
    return engine->RunOnTextPool([=, request = std::move(request)]() mutable {
      reactor->Answer<Response>([&](Response& response) -> absl::Status {
        Request taken = std::move(request);
        const StopCondition stopped = [context] { return context->IsCancelled(); };
        if (stopped()) return absl::CancelledError("the request was cancelled");
        return work(*engine, std::move(taken), stopped, response);
      });
    });
  });
  if (!status.ok()) reactor->Refuse(status);
  return reactor;
}

}  // namespace longhaul
