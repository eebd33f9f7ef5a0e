#include "server/metrics/rpc_metrics.h"

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "longhaul/v1/inference.pb.h"
#include "server/metrics/metrics_text.h"
#include "server/server.h"

namespace longhaul {
namespace {

// A server without a model: what it answers is UNAVAILABLE, and counted.
class RpcMetricsTest : public ::testing::Test {
 protected:
  RpcMetricsTest() {
    auto server = Server::Start({.listen = "127.0.0.1:0", .rpc_metrics = &metrics_});
    EXPECT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    channel_ = grpc::CreateChannel("127.0.0.1:" + std::to_string(server_->port()), grpc::InsecureChannelCredentials());
  }

  // Calls a method with an empty message.
  grpc::StatusCode Call(const std::string& method) {
    grpc::ClientContext context;
    grpc::CompletionQueue queue;
    grpc::GenericStub stub(channel_);
    const grpc::Slice empty;
    const grpc::ByteBuffer request(&empty, 1);
    const auto call = stub.PrepareUnaryCall(&context, method, request, &queue);
    grpc::ByteBuffer response;
    grpc::Status status;
    call->StartCall();
    call->Finish(&response, &status, nullptr);
    void* tag = nullptr;
    bool ok = false;
    queue.Next(&tag, &ok);
    return status.error_code();
  }

  bool Has(const std::string& line) const {
    MetricFamilies families;
    metrics_.Collect(families);
    return MetricsText(families).find(absl::StrCat("\n", line, "\n")) != std::string::npos;
  }

  RpcMetrics metrics_{{v1::GenerateRequest::descriptor()->file()}};
  std::unique_ptr<Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
};

TEST_F(RpcMetricsTest, CountsCallsOfEveryKind) {
  EXPECT_EQ(Call("/longhaul.v1.InferenceService/GetModel"), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(Call("/longhaul.v1.InferenceService/GetModel"), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(Call("/longhaul.v1.InferenceService/Generate"), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(Call("/grpc.health.v1.Health/Check"), grpc::StatusCode::OK);
  const std::string model = R"({grpc_service="longhaul.v1.InferenceService",grpc_method="GetModel",grpc_type="unary")";
  const std::string generate =
      R"({grpc_service="longhaul.v1.InferenceService",grpc_method="Generate",grpc_type="server_stream")";
  const std::string health = R"({grpc_service="grpc.health.v1.Health",grpc_method="Check",grpc_type="unary")";
  EXPECT_TRUE(Has("grpc_server_started_total" + model + "} 2"));
  EXPECT_TRUE(Has("grpc_server_handled_total" + model + ",grpc_code=\"Unavailable\"} 2"));
  EXPECT_TRUE(Has("grpc_server_handled_total" + model + ",grpc_code=\"OK\"} 0"));
  EXPECT_TRUE(Has("grpc_server_handling_seconds_count" + model + "} 2"));
  EXPECT_TRUE(Has("grpc_server_started_total" + generate + "} 1"));
  EXPECT_TRUE(Has("grpc_server_handled_total" + generate + ",grpc_code=\"Unavailable\"} 1"));
  EXPECT_TRUE(Has("grpc_server_handled_total" + health + ",grpc_code=\"OK\"} 1"));
}

// A client chooses these names, so they must not become labels.
TEST_F(RpcMetricsTest, MethodsThatDoNotExistAreCountedTogether) {
  EXPECT_EQ(Call("/no.such.Service/A"), grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(Call("/longhaul.v1.InferenceService/NoSuchMethod"), grpc::StatusCode::UNIMPLEMENTED);
  MetricFamilies families;
  metrics_.Collect(families);
  const std::string text = MetricsText(families);
  EXPECT_EQ(text.find("no.such"), std::string::npos);
  EXPECT_EQ(text.find("NoSuchMethod"), std::string::npos);
  const std::string unknown = R"({grpc_service="unknown",grpc_method="unknown",grpc_type="unary")";
  EXPECT_TRUE(Has("grpc_server_started_total" + unknown + "} 2")) << text.substr(0, 3000);
  EXPECT_TRUE(Has("grpc_server_handled_total" + unknown + ",grpc_code=\"Unimplemented\"} 2"));
}

}  // namespace
}  // namespace longhaul
