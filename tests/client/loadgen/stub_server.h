#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "longhaul/v1/inference.grpc.pb.h"

namespace longhaul::loadgen {

// How the stub answers a request: the first chunk so long after the request came, then a chunk every `gap`, until the
// tokens that were asked for are sent. Or not at all.
struct StubAnswer {
  double first = 0, gap = 0;  // seconds
  int64_t tokens_per_chunk = 1;
  grpc::StatusCode refuse = grpc::StatusCode::OK;
};

// An InferenceService in this process whose delays are planned, and which notes what it really did by its own clock.
class StubServer {
 public:
  using Clock = std::chrono::steady_clock;

  // `plan(number)`: of the number-th request that came.
  explicit StubServer(std::function<StubAnswer(int64_t)> plan);
  ~StubServer();

  std::string target() const { return "127.0.0.1:" + std::to_string(port_); }

  // Sends nothing between `after` and `after + length` seconds from its first request on.
  void Stall(double after, double length);

  // What it did.
  struct Log {
    std::vector<double> firsts, gaps;  // seconds: from a request until its first chunk, between chunks
    int64_t requests = 0, cancelled = 0, most_at_once = 0, running = 0;
    std::map<std::string, int64_t> client_ids;
  };
  Log log();

 private:
  class Service;
  class Answer;
  friend class Answer;

  // Runs `action` at `time` on the timer's thread, or when a stall is over.
  void At(Clock::time_point time, std::function<void()> action);
  void RunTimer(const std::stop_token& stop);

  const std::function<StubAnswer(int64_t)> plan_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::multimap<Clock::time_point, std::function<void()>> due_;
  Log log_;
  Clock::time_point first_request_{};
  double stall_after_ = 0, stall_length_ = 0;
  std::unique_ptr<Service> service_;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
  std::jthread timer_;
};

}  // namespace longhaul::loadgen
