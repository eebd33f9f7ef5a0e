#include "server/status/status_conversion.h"

#include <google/protobuf/util/time_util.h>
#include <gtest/gtest.h>

#include <string>

#include "engine/base/field_error.h"
#include "engine/base/overload.h"
#include "engine/request/request.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace longhaul {
namespace {

google::rpc::Status DetailsOf(const grpc::Status& status) {
  google::rpc::Status rich;
  EXPECT_TRUE(rich.ParseFromString(status.error_details()));
  return rich;
}

TEST(StatusConversion, CodeAndMessageStay) {
  EXPECT_TRUE(ToGrpc(absl::OkStatus()).ok());
  const grpc::Status status = ToGrpc(absl::UnavailableError("field: not one"));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(status.error_message(), "field: not one");
  EXPECT_EQ(status.error_details(), "");
}

TEST(StatusConversion, AWrongFieldIsABadRequest) {
  const grpc::Status status = ToGrpc(FieldError("stopping.stop_token_ids[2]", "token id 7 is: outside"));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  const google::rpc::Status rich = DetailsOf(status);
  EXPECT_EQ(rich.code(), 3);
  EXPECT_EQ(rich.message(), status.error_message());
  google::rpc::BadRequest bad_request;
  ASSERT_EQ(rich.details_size(), 1);
  ASSERT_TRUE(rich.details(0).UnpackTo(&bad_request));
  ASSERT_EQ(bad_request.field_violations_size(), 1);
  EXPECT_EQ(bad_request.field_violations(0).field(), "stopping.stop_token_ids[2]");
  EXPECT_EQ(bad_request.field_violations(0).description(), "token id 7 is: outside");
}

TEST(StatusConversion, WhatNamesNoFieldHasNoDetails) {
  for (const char* message : {"the message is no longhaul.v1.X: it is malformed", "no colon", "prompt.text: empty"}) {
    EXPECT_EQ(ToGrpc(absl::InvalidArgumentError(message)).error_details(), "") << message;
  }
}

TEST(StatusConversion, AnOverloadSaysWhyAndWhenToTryAgain) {
  const grpc::Status status = ToGrpc(OverloadError("full", {"QUEUE_FULL", "--max-queue", "4", 2.5}));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  const google::rpc::Status rich = DetailsOf(status);
  ASSERT_EQ(rich.details_size(), 2);
  google::rpc::RetryInfo retry;
  ASSERT_TRUE(rich.details(0).UnpackTo(&retry));
  EXPECT_EQ(google::protobuf::util::TimeUtil::DurationToMilliseconds(retry.retry_delay()), 2500);
  google::rpc::ErrorInfo info;
  ASSERT_TRUE(rich.details(1).UnpackTo(&info));
  EXPECT_EQ(rich.details(1).type_url(), "type.googleapis.com/google.rpc.ErrorInfo");
  EXPECT_EQ(info.reason(), "QUEUE_FULL");
  EXPECT_EQ(info.domain(), "longhaul");
  EXPECT_EQ(info.metadata().at("flag"), "--max-queue");
  EXPECT_EQ(info.metadata().at("limit"), "4");
}

TEST(StatusConversion, AServerThatIsNotThereSaysWhenToTryAgain) {
  for (const absl::Status& status : {Loading(), DrainingError(), DrainedError()}) {
    const grpc::Status converted = ToGrpc(status);
    EXPECT_EQ(converted.error_code(), grpc::StatusCode::UNAVAILABLE);
    const google::rpc::Status rich = DetailsOf(converted);
    google::rpc::RetryInfo retry;
    ASSERT_EQ(rich.details_size(), 1);
    ASSERT_TRUE(rich.details(0).UnpackTo(&retry));
    EXPECT_EQ(google::protobuf::util::TimeUtil::DurationToMilliseconds(retry.retry_delay()), 1000);
  }
}

}  // namespace
}  // namespace longhaul
