#include "server/status/status_conversion.h"

#include <google/protobuf/util/time_util.h>

#include <cmath>
#include <new>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "engine/base/field_error.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace longhaul {
namespace {

void AddBadRequest(const std::string& field, const std::string& message, google::rpc::Status& status) {
  google::rpc::BadRequest bad_request;
  auto& violation = *bad_request.add_field_violations();
  violation.set_field(field);
  violation.set_description(std::string(absl::StripPrefix(message, absl::StrCat(field, ": "))));
  status.add_details()->PackFrom(bad_request);
}

void AddRetryInfo(double seconds, google::rpc::Status& status) {
  google::rpc::RetryInfo retry;
  *retry.mutable_retry_delay() =
      google::protobuf::util::TimeUtil::MillisecondsToDuration(static_cast<int64_t>(std::ceil(seconds * 1000)));
  status.add_details()->PackFrom(retry);
}

void AddErrorInfo(const Overload& overload, google::rpc::Status& status) {
  google::rpc::ErrorInfo info;
  info.set_reason(overload.reason);
  info.set_domain("longhaul");
  (*info.mutable_metadata())["flag"] = overload.flag;
  (*info.mutable_metadata())["limit"] = overload.limit;
  status.add_details()->PackFrom(info);
}

grpc::Status Convert(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  const std::string message(status.message());
  google::rpc::Status rich;
  if (const std::optional<std::string> field = FieldOf(status)) AddBadRequest(*field, message, rich);
  if (const std::optional<double> seconds = RetryAfterOf(status)) AddRetryInfo(*seconds, rich);
  if (const std::optional<Overload> overload = OverloadOf(status)) AddErrorInfo(*overload, rich);
  const auto code = static_cast<grpc::StatusCode>(status.code());
  if (rich.details().empty()) return grpc::Status(code, message);
  rich.set_code(static_cast<int32_t>(status.code()));
  rich.set_message(message);
  return grpc::Status(code, message, rich.SerializeAsString());
}

}  // namespace

grpc::Status ToGrpc(const absl::Status& status) {
  try {
    return Convert(status);
  } catch (const std::bad_alloc&) {
    return grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "out of memory");  // so short that it takes none
  }
}

}  // namespace longhaul
