#include "server/grpc/reflection_watch.h"

#include <new>
#include <string_view>

#include "engine/base/exceptions.h"

namespace longhaul {
namespace {

using grpc::experimental::InterceptionHookPoints;
using grpc::experimental::ServerRpcInfo;

// Of one stream; goes with it.
class ReflectionStream : public grpc::experimental::Interceptor {
 public:
  ReflectionStream(StallWatch& stalls, ServerRpcInfo& info) : stalls_(stalls), info_(info) {}

  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    // The context has no call before.
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::POST_RECV_INITIAL_METADATA)) {
      // Without memory for that it is not watched.
      const absl::Status done = CatchExceptions([&] {
        watched_ = stalls_.Watch(*info_.server_context());
        return absl::OkStatus();
      });
    }
    methods->Proceed();
  }

 private:
  StallWatch& stalls_;
  ServerRpcInfo& info_;
  StallWatch::Watched watched_;
};

class ReflectionStreams : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  explicit ReflectionStreams(StallWatch& stalls) : stalls_(stalls) {}

  grpc::experimental::Interceptor* CreateServerInterceptor(ServerRpcInfo* info) override {
    const bool is_reflection = std::string_view(info->method()).starts_with("/grpc.reflection.");
    return is_reflection ? new (std::nothrow) ReflectionStream(stalls_, *info) : nullptr;
  }

 private:
  StallWatch& stalls_;
};

}  // namespace

std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> WatchReflection(StallWatch& stalls) {
  return std::make_unique<ReflectionStreams>(stalls);
}

}  // namespace longhaul
