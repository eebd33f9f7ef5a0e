#include "client/client.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <mutex>
#include <set>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "client/channel.h"
#include "longhaul/v1/admin.grpc.pb.h"
#include "longhaul/v1/inference.grpc.pb.h"

namespace longhaul {
namespace {

constexpr double kYear = 365.0 * 24 * 3600;

// gRPC aborts the process on a metadata value that it cannot send.
absl::Status CheckOptions(const CallOptions& options) {
  constexpr size_t kMaxBytes = 128;
  if (!(options.timeout_seconds >= 0)) {
    return absl::InvalidArgumentError(
        absl::StrCat("timeout_seconds: ", options.timeout_seconds, " is not allowed; it must be at least 0"));
  }
  const std::string& id = options.request_id;
  if (id.size() > kMaxBytes || !std::all_of(id.begin(), id.end(), [](char c) { return c >= 0x20 && c <= 0x7e; })) {
    return absl::InvalidArgumentError(absl::StrCat("request_id: '", absl::CHexEscape(id),
                                                   "' is not allowed; it must be at most ", kMaxBytes,
                                                   " characters of printable ASCII"));
  }
  return absl::OkStatus();
}

absl::Status FromGrpc(const grpc::Status& status) {
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

}  // namespace

struct Client::Impl {
  explicit Impl(const std::string& wanted) : target(NormalTarget(wanted)) {
    if (!target.ok()) return;
    const auto channel = MakeChannel(*target);
    stub = v1::InferenceService::NewStub(channel);
    admin = v1::AdminService::NewStub(channel);
  }

  // Whether a call can be made at all.
  absl::Status Check(const CallOptions& options) const { return target.ok() ? CheckOptions(options) : target.status(); }

  // The status of a call that was made.
  absl::Status ToStatus(const grpc::Status& status) const {
    const absl::Status converted = FromGrpc(status);
    if (!absl::IsUnavailable(converted) && !absl::IsDeadlineExceeded(converted)) return converted;
    return absl::Status(converted.code(), absl::StrCat(converted.message(), ProxyHint(*target)));
  }

  const absl::StatusOr<std::string> target;
  std::unique_ptr<v1::InferenceService::Stub> stub;  // null where the target is invalid
  std::unique_ptr<v1::AdminService::Stub> admin;
  std::mutex mutex;
  std::set<grpc::ClientContext*> running;  // guarded by mutex
};

namespace {

// A call's context, which Cancel reaches while it lives.
template <typename Impl>
class Call {
 public:
  Call(Impl& impl, const CallOptions& options) : impl_(impl) {
    if (options.timeout_seconds > 0 && options.timeout_seconds <= kYear) {
      context_.set_deadline(std::chrono::system_clock::now() +
                            std::chrono::microseconds(static_cast<int64_t>(options.timeout_seconds * 1e6)));
    }
    if (!options.request_id.empty()) context_.AddMetadata("x-request-id", options.request_id);
    const std::lock_guard lock(impl_.mutex);
    impl_.running.insert(&context_);
  }
  ~Call() {
    const std::lock_guard lock(impl_.mutex);
    impl_.running.erase(&context_);
  }
  grpc::ClientContext* context() { return &context_; }

 private:
  Impl& impl_;
  grpc::ClientContext context_;
};

// Reads a stream to its end.
template <typename Response, typename Reader>
grpc::Status ReadAll(Reader& reader, grpc::ClientContext* context,
                     const std::function<bool(const Response&)>& on_message) {
  Response response;
  while (reader.Read(&response)) {
    if (on_message(response)) continue;
    context->TryCancel();
    while (reader.Read(&response)) {
    }
  }
  return reader.Finish();
}

}  // namespace

Client::Client(const std::string& target) : impl_(std::make_unique<Impl>(target)) {}
Client::~Client() = default;

absl::Status Client::Generate(const v1::GenerateRequest& request, const CallOptions& options,
                              const std::function<bool(const v1::GenerateResponse&)>& on_message) {
  if (absl::Status status = impl_->Check(options); !status.ok()) return status;
  Call call(*impl_, options);
  const auto reader = impl_->stub->Generate(call.context(), request);
  return impl_->ToStatus(ReadAll(*reader, call.context(), on_message));
}

absl::Status Client::Score(const v1::ScoreRequest& request, const CallOptions& options,
                           const std::function<bool(const v1::ScoreResponse&)>& on_message) {
  if (absl::Status status = impl_->Check(options); !status.ok()) return status;
  Call call(*impl_, options);
  const auto reader = impl_->stub->Score(call.context(), request);
  return impl_->ToStatus(ReadAll(*reader, call.context(), on_message));
}

absl::StatusOr<v1::TokenizeResponse> Client::Tokenize(const v1::TokenizeRequest& request, const CallOptions& options) {
  if (absl::Status status = impl_->Check(options); !status.ok()) return status;
  Call call(*impl_, options);
  v1::TokenizeResponse response;
  const grpc::Status status = impl_->stub->Tokenize(call.context(), request, &response);
  if (!status.ok()) return impl_->ToStatus(status);
  return response;
}

absl::StatusOr<v1::DetokenizeResponse> Client::Detokenize(const v1::DetokenizeRequest& request,
                                                          const CallOptions& options) {
  if (absl::Status status = impl_->Check(options); !status.ok()) return status;
  Call call(*impl_, options);
  v1::DetokenizeResponse response;
  const grpc::Status status = impl_->stub->Detokenize(call.context(), request, &response);
  if (!status.ok()) return impl_->ToStatus(status);
  return response;
}

absl::StatusOr<v1::GetModelResponse> Client::Model(const CallOptions& options, const v1::GetModelRequest& request) {
  if (absl::Status status = impl_->Check(options); !status.ok()) return status;
  Call call(*impl_, options);
  v1::GetModelResponse response;
  const grpc::Status status = impl_->stub->GetModel(call.context(), request, &response);
  if (!status.ok()) return impl_->ToStatus(status);
  return response;
}

absl::StatusOr<v1::ListRequestsResponse> Client::ListRequests(const CallOptions& options) {
  if (absl::Status status = impl_->Check(options); !status.ok()) return status;
  Call call(*impl_, options);
  v1::ListRequestsResponse response;
  const grpc::Status status = impl_->admin->ListRequests(call.context(), v1::ListRequestsRequest(), &response);
  if (!status.ok()) return impl_->ToStatus(status);
  return response;
}

absl::StatusOr<v1::CancelRequestResponse> Client::CancelRequest(const v1::CancelRequestRequest& request,
                                                                const CallOptions& options) {
  if (absl::Status status = impl_->Check(options); !status.ok()) return status;
  Call call(*impl_, options);
  v1::CancelRequestResponse response;
  const grpc::Status status = impl_->admin->CancelRequest(call.context(), request, &response);
  if (!status.ok()) return impl_->ToStatus(status);
  return response;
}

void Client::Cancel() {
  const std::lock_guard lock(impl_->mutex);
  for (grpc::ClientContext* context : impl_->running) context->TryCancel();
}

}  // namespace longhaul
