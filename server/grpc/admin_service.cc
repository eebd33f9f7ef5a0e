#include "server/grpc/admin_service.h"

#include "absl/status/status.h"
#include "engine/base/field_error.h"
#include "engine/base/log.h"
#include "engine/base/quoted.h"
#include "server/front/peer_name.h"
#include "server/grpc/conversions.h"
#include "server/grpc/unary_reactor.h"

namespace longhaul {

grpc::ServerUnaryReactor* AdminService::ListRequests(grpc::CallbackServerContext* context,
                                                     const grpc::ByteBuffer* request, grpc::ByteBuffer* response) {
  return AnswerUnary<v1::ListRequestsRequest, v1::ListRequestsResponse>(
      limits_, engine_.load(), context, request, response,
      [](Engine& engine, const v1::ListRequestsRequest&, v1::ListRequestsResponse& out) {
        for (const RequestInfo& info : engine.ListRequests()) *out.add_requests() = ToWire(info);
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* AdminService::CancelRequest(grpc::CallbackServerContext* context,
                                                      const grpc::ByteBuffer* request, grpc::ByteBuffer* response) {
  return AnswerUnary<v1::CancelRequestRequest, v1::CancelRequestResponse>(
      limits_, engine_.load(), context, request, response,
      [context](Engine& engine, const v1::CancelRequestRequest& message, v1::CancelRequestResponse& out) {
        if (message.id().empty()) return FieldError("id", "not given; `longhaul ps` lists the requests");
        const int64_t cancelled = engine.CancelRequest(message.id());
        LogInfo("request ", Quoted(message.id()), " cancelled by ", PeerOfGrpc(context->peer()), ": ", cancelled,
                " of this id");
        out.set_cancelled(static_cast<uint32_t>(cancelled));
        return absl::OkStatus();
      },
      Admission::kAlways);
}

}  // namespace longhaul
