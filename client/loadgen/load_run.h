#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "client/loadgen/arrivals.h"
#include "client/loadgen/measurement.h"
#include "client/loadgen/stream.h"
#include "client/loadgen/workload.h"

namespace longhaul::loadgen {

struct RunOptions {
  std::string target;    // as NormalTarget makes it
  double warmup = 0;  // seconds; what is meant to be sent before is not measured
  double duration = std::numeric_limits<double>::infinity();  // seconds after the warm-up
  int64_t requests = 0;                                       // measured requests at most; 0: no bound
  double drain = 30;         // seconds that requests which run at the end may take to finish
  double timeout = 0;        // seconds, each request's deadline; 0: none
  int64_t concurrency = 0;   // closed loop: so many requests at any time, each sent when one has ended; 0: open loop
  int connections = 1;       // TCP connections, used in turn
  int client_ids = 0;        // names of clients (x-client-id), used in turn; 0: none is sent
  bool by_position = false;  // measure each position mode also by itself
};

// How a run goes.
struct RunProgress {
  double seconds = 0;  // since the start
  int64_t sent = 0, running = 0, ended = 0, failed = 0, tokens = 0;
  double ttft_p50 = 0, ttft_p99 = 0;  // measured ones so far
};

struct RunResult {
  Measurement total;
  std::map<std::string, Measurement> by_position;
  double wall_seconds = 0, cpu_seconds = 0;  // of this process, from the start to the last end
  int cores = 1;                             // that it may use
  bool stopped = false;                      // by Stop
};

// Sends a workload and measures what comes back. One thread sends; gRPC's threads receive.
class LoadRun {
 public:
  // `arrivals` is not used in a closed loop.
  LoadRun(RunOptions options, Workload workload, ArrivalOptions arrivals, std::vector<Objective> objectives);

  // Blocks until the last request has ended. REQUIRES: called once.
  RunResult Run();

  // No further requests; those that run are abandoned. Any thread, also before Run.
  void Stop();

  RunProgress Progress();

 private:
  using Clock = std::chrono::steady_clock;

  // False when it ended before the window's end: all that was to be sent is sent, or the run was stopped.
  bool SendAll();
  // When the next request is to be sent, seconds; in a closed loop waits until that is known. None at the end.
  std::optional<double> NextTime();
  // Waits until `at`; false when the run was stopped.
  bool WaitUntil(double at);
  void Send(uint64_t number, double at, PlannedRequest planned);
  void Take(Stream* stream, const StreamRecord& record);
  // Waits for the running requests, then abandons them.
  void Drain();
  double Now() const { return std::chrono::duration<double>(Clock::now() - begin_).count(); }
  Clock::time_point TimePoint(double at) const;

  const RunOptions options_;
  const Workload workload_;
  const std::vector<Objective> objectives_;
  const Window window_;
  Arrivals arrivals_;
  std::vector<std::unique_ptr<v1::InferenceService::Stub>> stubs_;
  Clock::time_point begin_;
  std::atomic<int64_t> tokens_ = 0;

  std::mutex mutex_;
  std::condition_variable changed_;
  // All below are guarded by mutex_.
  bool stopped_ = false;
  double stopped_at_ = 0;
  std::map<Stream*, std::shared_ptr<Stream>> running_;
  std::multiset<double> free_;  // closed loop: when to send the followers of requests that have ended
  int64_t sent_ = 0, ended_ = 0, failed_ = 0;
  Measurement total_;
  std::map<std::string, Measurement> by_position_;
};

}  // namespace longhaul::loadgen
