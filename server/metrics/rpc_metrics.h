#pragma once

#include <google/protobuf/descriptor.h>
#include <grpcpp/support/server_interceptor.h>
#include <grpcpp/support/status.h>

#include <array>
#include <chrono>
#include <initializer_list>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "engine/base/counter.h"
#include "engine/base/histogram.h"
#include "server/metrics/metric_family.h"

namespace longhaul {

// Counts every RPC of a server as go-grpc-prometheus does: grpc_server_started_total, grpc_server_handled_total and
// grpc_server_handling_seconds. Methods that the server does not have count together as "unknown". Thread-safe.
class RpcMetrics {
 public:
  // The methods of all services in `files`, those of grpc.health.v1 and of reflection.
  explicit RpcMetrics(std::initializer_list<const google::protobuf::FileDescriptor*> files);
  RpcMetrics(const RpcMetrics&) = delete;
  RpcMetrics& operator=(const RpcMetrics&) = delete;

  // What does the counting, for a ServerBuilder. This outlives the server.
  std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> MakeInterceptors();

  void Collect(MetricFamilies& families) const;

 private:
  friend class RpcInterceptor;
  friend class RpcInterceptors;
  static constexpr size_t kStatusCodes = 17;

  struct Method {
    explicit Method(std::string method_type);

    std::string type;  // unary, client_stream, server_stream or bidi_stream
    Counter started;
    std::array<Counter, kStatusCodes> handled;  // by status code
    Histogram handling;
  };

  void Add(const std::string& service, const std::string& method, const std::string& type);
  // By "/service/method".
  Method& Find(std::string_view path);

  std::map<std::string, Method, std::less<>> methods_;
};

}  // namespace longhaul
