#pragma once

#include <grpcpp/support/server_interceptor.h>

#include <memory>

#include "server/grpc/stall_watch.h"

namespace longhaul {

// Ends the streams of reflection after the timeout of `stalls`, which outlives the server, whatever they do: each takes
// one of few threads, and a client asks all that it wants to know within seconds.
std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> WatchReflection(StallWatch& stalls);

}  // namespace longhaul
