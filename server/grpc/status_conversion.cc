#include "server/grpc/status_conversion.h"

#include <google/protobuf/util/time_util.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <new>
#include <optional>
#include <string>
#include <string_view>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace longhaul {
namespace {

// How many bytes of "FIELD: what is wrong with it" name the field; 0 when the message is not of that form.
size_t FieldLength(std::string_view message) {
  const size_t end = message.find(": ");
  if (end == std::string_view::npos) return 0;
  const std::string_view field = message.substr(0, end);
  const bool is_path = std::all_of(field.begin(), field.end(), [](unsigned char c) {
    return std::islower(c) != 0 || std::isdigit(c) != 0 ||
           std::string_view("._-[]").find(static_cast<char>(c)) != std::string_view::npos;
  });
  return is_path ? end : 0;
}

void AddBadRequest(std::string_view message, google::rpc::Status& status) {
  const size_t field_length = FieldLength(message);
  if (field_length == 0) return;
  google::rpc::BadRequest bad_request;
  auto& violation = *bad_request.add_field_violations();
  violation.set_field(std::string(message.substr(0, field_length)));
  violation.set_description(std::string(message.substr(field_length + 2)));
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
  if (status.code() == absl::StatusCode::kInvalidArgument) AddBadRequest(message, rich);
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
