#include "server/admin_service.h"

#include <string>

#include "absl/status/status.h"
#include "engine/base/log.h"
#include "engine/base/quoted.h"
#include "server/conversions.h"
#include "server/front/peer_name.h"
#include "server/raw_message.h"
#include "server/status_conversion.h"

namespace longhaul {
namespace {

// Parses and validates, then calls `work(engine, request, response)`, which is short.
template <typename Request, typename Response, typename Work>
grpc::ServerUnaryReactor* Answer(Engine* engine, grpc::CallbackServerContext* context, const grpc::ByteBuffer* buffer,
                                 grpc::ByteBuffer* response_buffer, Work work) {
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  const absl::StatusOr<Request> request = TakeMessage<Request>(*buffer);
  absl::Status status = request.status();
  if (status.ok() && engine == nullptr) status = Loading();
  if (status.ok()) {
    Response response;
    work(*engine, *request, response);
    Serialize(response, *response_buffer);
  }
  reactor->Finish(ToGrpc(status));
  return reactor;
}

}  // namespace

grpc::ServerUnaryReactor* AdminService::ListRequests(grpc::CallbackServerContext* context,
                                                     const grpc::ByteBuffer* request, grpc::ByteBuffer* response) {
  return Answer<v1::ListRequestsRequest, v1::ListRequestsResponse>(
      engine_.load(), context, request, response,
      [](Engine& engine, const v1::ListRequestsRequest&, v1::ListRequestsResponse& out) {
        for (const RequestInfo& info : engine.ListRequests()) *out.add_requests() = ToWire(info);
      });
}

grpc::ServerUnaryReactor* AdminService::CancelRequest(grpc::CallbackServerContext* context,
                                                      const grpc::ByteBuffer* request, grpc::ByteBuffer* response) {
  return Answer<v1::CancelRequestRequest, v1::CancelRequestResponse>(
      engine_.load(), context, request, response,
      [context](Engine& engine, const v1::CancelRequestRequest& message, v1::CancelRequestResponse& out) {
        const int64_t cancelled = engine.CancelRequest(message.id());
        LogInfo("request ", Quoted(message.id()), " cancelled by ", PeerOfGrpc(context->peer()), ": ", cancelled,
                " of this id");
        out.set_cancelled(static_cast<uint32_t>(cancelled));
      });
}

}  // namespace longhaul
