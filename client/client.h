#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "longhaul/v1/admin.pb.h"
#include "longhaul/v1/inference.pb.h"

namespace grpc {
class ClientContext;
}

namespace longhaul {

// Options of one call. A call returns INVALID_ARGUMENT where they are out of the ranges given here.
struct CallOptions {
  double timeout_seconds = 0;  // 0, or more than a year: no deadline
  std::string request_id;      // for the server's log, at most 128 printable characters; empty: the server makes one up
};

// A longhaul server, as a C++ program sees it. Thread-safe; calls block their thread. Statuses carry the server's
// message.
class Client {
 public:
  // `target`: "HOST:PORT", "HOST" (port 50051) or "unix:PATH". Connects with the first call, to this machine directly
  // and to others through the proxy that the environment names. Every call returns INVALID_ARGUMENT when it is invalid.
  explicit Client(const std::string& target);
  ~Client();

  // Calls `on_message` with each message of the stream as it arrives; false from it cancels the call. The status is
  // that of the call: OK after a whole answer.
  absl::Status Generate(const v1::GenerateRequest& request, const CallOptions& options,
                        const std::function<bool(const v1::GenerateResponse&)>& on_message);
  absl::Status Score(const v1::ScoreRequest& request, const CallOptions& options,
                     const std::function<bool(const v1::ScoreResponse&)>& on_message);

  absl::StatusOr<v1::TokenizeResponse> Tokenize(const v1::TokenizeRequest& request, const CallOptions& options);
  absl::StatusOr<v1::DetokenizeResponse> Detokenize(const v1::DetokenizeRequest& request, const CallOptions& options);
  absl::StatusOr<v1::GetModelResponse> Model(const CallOptions& options, const v1::GetModelRequest& request = {});

  // AdminService: lists the requests of all clients; cancels those of an id and says how many there were.
  absl::StatusOr<v1::ListRequestsResponse> ListRequests(const CallOptions& options);
  absl::StatusOr<v1::CancelRequestResponse> CancelRequest(const v1::CancelRequestRequest& request,
                                                          const CallOptions& options);

  // Cancels the call that runs; a call that begins later runs as usual. Any thread; not from a signal handler.
  void Cancel();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace longhaul
