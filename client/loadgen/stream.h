#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "client/loadgen/stream_record.h"
#include "client/loadgen/workload.h"
#include "longhaul/v1/inference.grpc.pb.h"

namespace longhaul::loadgen {

// How a request is sent.
struct SendOptions {
  std::chrono::steady_clock::time_point run_begin;  // what times count from
  double intended = 0;                              // seconds
  double timeout = 0;                               // seconds; 0: no deadline
  std::string request_id, client_id;                // empty: not sent
};

// A request that runs on gRPC's threads. Once sent it keeps itself alive until its end.
class Stream {
 public:
  virtual ~Stream() = default;

  // `on_tokens` (a chunk's tokens) and, once and last, `on_end` come from gRPC's threads.
  static std::shared_ptr<Stream> Make(PlannedRequest planned, const SendOptions& options,
                                      std::function<void(int64_t)> on_tokens,
                                      std::function<void(Stream*, const StreamRecord&)> on_end);

  // Sends the request. REQUIRES: called once.
  virtual void Send(v1::InferenceService::Stub& stub) = 0;

  // Ends it as kUnfinished, unless it has ended. Any thread. `on_end` may run inside.
  virtual void Abandon() = 0;
};

}  // namespace longhaul::loadgen
