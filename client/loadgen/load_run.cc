#include "client/loadgen/load_run.h"

#include <grpcpp/grpcpp.h>
#include <sched.h>
#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/channel.h"

namespace longhaul::loadgen {
namespace {

constexpr double kPauseAfterFailure = 0.1;  // seconds, closed loop

double CpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

int Cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  return sched_getaffinity(0, sizeof set, &set) == 0 ? std::max(1, CPU_COUNT(&set)) : 1;
}

std::unique_ptr<v1::InferenceService::Stub> Connect(const std::string& target) {
  grpc::ChannelArguments arguments;
  // Channels to one target would share their connection.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  const auto channel = MakeChannel(target, arguments);
  // Connecting counts for no request; where no server is reached, the requests' errors report it.
  channel->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(5));
  return v1::InferenceService::NewStub(channel);
}

}  // namespace

LoadRun::LoadRun(RunOptions options, Workload workload, ArrivalOptions arrivals, std::vector<Objective> objectives)
    : options_(std::move(options)),
      workload_(std::move(workload)),
      objectives_(std::move(objectives)),
      window_{options_.warmup, options_.warmup + options_.duration},
      arrivals_(std::move(arrivals)),
      total_(window_, objectives_) {
  for (int i = 0; i < options_.connections; ++i) stubs_.push_back(Connect(options_.target));
  begin_ = Clock::now();
}

RunResult LoadRun::Run() {
  begin_ = Clock::now();
  const double cpu = CpuSeconds();
  for (int64_t i = 0; i < options_.concurrency; ++i) free_.insert(0);
  const bool whole = SendAll();
  Drain();
  const std::lock_guard lock(mutex_);
  if (!whole) {
    const double end = stopped_ ? stopped_at_ : total_.last;
    total_.EndAt(end);
    for (auto& [position, part] : by_position_) part.EndAt(end);
  }
  return {.total = std::move(total_),
          .by_position = std::move(by_position_),
          .wall_seconds = Now(),
          .cpu_seconds = CpuSeconds() - cpu,
          .cores = Cores(),
          .stopped = stopped_};
}

void LoadRun::Stop() {
  std::vector<std::shared_ptr<Stream>> streams;
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    stopped_at_ = Now();
    for (const auto& [stream, kept] : running_) streams.push_back(kept);
    changed_.notify_all();
  }
  for (const auto& stream : streams) stream->Abandon();
}

RunProgress LoadRun::Progress() {
  const std::lock_guard lock(mutex_);
  return {.seconds = Now(),
          .sent = sent_,
          .running = std::ssize(running_),
          .ended = ended_,
          .failed = failed_,
          .tokens = tokens_,
          .ttft_p50 = total_.time_to_first_token.Percentile(50),
          .ttft_p99 = total_.time_to_first_token.Percentile(99)};
}

bool LoadRun::SendAll() {
  int64_t measured = 0;
  for (uint64_t number = 0; options_.requests == 0 || measured < options_.requests; ++number) {
    // Made before it is due.
    PlannedRequest planned = workload_.Make(number);
    const std::optional<double> at = NextTime();
    if (!at.has_value()) return Now() >= window_.end;
    if (*at >= window_.end) return true;
    if (!WaitUntil(*at)) return false;
    measured += window_.Holds(*at) ? 1 : 0;
    Send(number, *at, std::move(planned));
  }
  return false;
}

std::optional<double> LoadRun::NextTime() {
  if (options_.concurrency == 0) return arrivals_.Next();
  std::unique_lock lock(mutex_);
  while (!stopped_ && Now() < window_.end) {
    if (!free_.empty() && *free_.begin() <= Now()) return free_.extract(free_.begin()).value();
    const double next = free_.empty() ? window_.end : std::min(window_.end, *free_.begin());
    if (std::isfinite(next)) {
      changed_.wait_until(lock, TimePoint(next));
    } else {
      changed_.wait(lock);
    }
  }
  return std::nullopt;
}

bool LoadRun::WaitUntil(double at) {
  std::unique_lock lock(mutex_);
  return !changed_.wait_until(lock, TimePoint(at), [&] { return stopped_; });
}

LoadRun::Clock::time_point LoadRun::TimePoint(double at) const {
  return begin_ + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(at));
}

void LoadRun::Send(uint64_t number, double at, PlannedRequest planned) {
  SendOptions options;
  options.run_begin = begin_;
  options.intended = at;
  options.timeout = options_.timeout;
  options.request_id = absl::StrCat("bench-", workload_.options().seed, "-", number);
  if (options_.client_ids > 0) {
    options.client_id = absl::StrCat("bench-", number % static_cast<uint64_t>(options_.client_ids));
  }
  const auto stream = Stream::Make(
      std::move(planned), options, [this](int64_t tokens) { tokens_ += tokens; },
      [this](Stream* ended, const StreamRecord& record) { Take(ended, record); });
  {
    const std::lock_guard lock(mutex_);
    running_[stream.get()] = stream;
    ++sent_;
  }
  stream->Send(*stubs_[number % stubs_.size()]);
}

void LoadRun::Take(Stream* stream, const StreamRecord& record) {
  const std::lock_guard lock(mutex_);
  running_.erase(stream);
  ++ended_;
  failed_ += record.end == StreamRecord::End::kFailed ? 1 : 0;
  // What was cut off because the user stopped the run says nothing about the server.
  if (!(stopped_ && record.end == StreamRecord::End::kUnfinished)) {
    total_.Add(record);
    if (options_.by_position) {
      by_position_.try_emplace(record.position, window_, objectives_).first->second.Add(record);
    }
  }
  // A server that refuses at once would be asked without a pause.
  free_.insert(record.ended + (record.end == StreamRecord::End::kFailed ? kPauseAfterFailure : 0));
  changed_.notify_all();  // under the lock: the last request's thread must not touch a run that is over
}

void LoadRun::Drain() {
  std::vector<std::shared_ptr<Stream>> late;
  {
    std::unique_lock lock(mutex_);
    const auto over = [&] { return running_.empty() || stopped_; };
    changed_.wait_until(lock, TimePoint(Now() + options_.drain), over);
    for (const auto& [stream, kept] : running_) late.push_back(kept);
  }
  for (const auto& stream : late) stream->Abandon();
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return running_.empty(); });
}

}  // namespace longhaul::loadgen
