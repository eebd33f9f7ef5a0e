#include "server/metrics/rpc_metrics.h"

#include <algorithm>
#include <new>

#include "engine/telemetry/telemetry.h"

namespace longhaul {
namespace {

using grpc::experimental::InterceptionHookPoints;
using prometheus::MetricType;
using Clock = std::chrono::steady_clock;

constexpr char kUnknown[] = "/unknown/unknown";

// By number, as go-grpc-prometheus writes them.
constexpr std::array kCodeNames = {
    "OK",       "Canceled",       "Unknown",          "InvalidArgument",   "DeadlineExceeded",
    "NotFound", "AlreadyExists",  "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
    "Aborted",  "OutOfRange",     "Unimplemented",    "Internal",          "Unavailable",
    "DataLoss", "Unauthenticated"};

const char* TypeOf(const google::protobuf::MethodDescriptor& method) {
  if (method.client_streaming()) return method.server_streaming() ? "bidi_stream" : "client_stream";
  return method.server_streaming() ? "server_stream" : "unary";
}

}  // namespace

// Of one RPC; lives as long as it.
class RpcInterceptor : public grpc::experimental::Interceptor {
 public:
  explicit RpcInterceptor(RpcMetrics::Method& method) : method_(method) { method_.started.Add(); }
  ~RpcInterceptor() override {
    // Ended without a status of the server's: the connection went away first.
    if (!handled_) Handled(grpc::StatusCode::CANCELLED);
  }

  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    if (!handled_ && methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_STATUS)) {
      Handled(methods->GetSendStatus().error_code());
    }
    methods->Proceed();
  }

 private:
  void Handled(grpc::StatusCode code) {
    handled_ = true;
    method_.handled[std::min(static_cast<size_t>(code), kCodeNames.size() - 1)].Add();
    method_.handling.Observe(Clock::now() - begin_);
  }

  RpcMetrics::Method& method_;
  const Clock::time_point begin_ = Clock::now();
  bool handled_ = false;
};

class RpcInterceptors : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  explicit RpcInterceptors(RpcMetrics& metrics) : metrics_(metrics) {}

  grpc::experimental::Interceptor* CreateServerInterceptor(grpc::experimental::ServerRpcInfo* info) override {
    return new (std::nothrow) RpcInterceptor(metrics_.Find(info->method()));  // without memory it is not counted
  }

 private:
  RpcMetrics& metrics_;
};

RpcMetrics::Method::Method(std::string method_type) : type(std::move(method_type)), handling(LongTimeBuckets()) {}

RpcMetrics::RpcMetrics(std::initializer_list<const google::protobuf::FileDescriptor*> files) {
  static_assert(kCodeNames.size() == kStatusCodes);
  for (const google::protobuf::FileDescriptor* file : files) {
    for (int s = 0; s < file->service_count(); ++s) {
      const google::protobuf::ServiceDescriptor& service = *file->service(s);
      for (int m = 0; m < service.method_count(); ++m) {
        Add(service.full_name(), service.method(m)->name(), TypeOf(*service.method(m)));
      }
    }
  }
  Add("grpc.health.v1.Health", "Check", "unary");
  Add("grpc.health.v1.Health", "Watch", "server_stream");
  Add("grpc.reflection.v1alpha.ServerReflection", "ServerReflectionInfo", "bidi_stream");
  methods_.emplace(kUnknown, "unary");
}

void RpcMetrics::Add(const std::string& service, const std::string& method, const std::string& type) {
  methods_.emplace("/" + service + "/" + method, type);
}

RpcMetrics::Method& RpcMetrics::Find(std::string_view path) {
  auto found = methods_.find(path);
  if (found == methods_.end()) found = methods_.find(kUnknown);
  return found->second;
}

std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> RpcMetrics::MakeInterceptors() {
  return std::make_unique<RpcInterceptors>(*this);
}

void RpcMetrics::Collect(MetricFamilies& families) const {
  const auto labels = [](const std::string& path, const Method& method) -> MetricLabels {
    const size_t slash = path.rfind('/');
    return {{"grpc_service", path.substr(1, slash - 1)},
            {"grpc_method", path.substr(slash + 1)},
            {"grpc_type", method.type}};
  };
  FamilyWriter started(families, "grpc_server_started_total", "RPCs that the server began.", MetricType::Counter);
  for (const auto& [path, method] : methods_) {
    started.Counter(labels(path, method), static_cast<double>(method.started.value()));
  }
  FamilyWriter handled(families, "grpc_server_handled_total", "RPCs that the server ended, by status code.",
                       MetricType::Counter);
  for (const auto& [path, method] : methods_) {
    MetricLabels with_code = labels(path, method);
    with_code.push_back({"grpc_code", ""});
    for (size_t code = 0; code < kStatusCodes; ++code) {
      with_code.back().value = kCodeNames[code];
      handled.Counter(with_code, static_cast<double>(method.handled[code].value()));
    }
  }
  FamilyWriter handling(families, "grpc_server_handling_seconds", "From the beginning of an RPC until its end.",
                        MetricType::Histogram);
  for (const auto& [path, method] : methods_) {
    handling.Histogram(labels(path, method), method.handling.Read(), kNanosecondsPerSecond);
  }
}

}  // namespace longhaul
