#include "tests/client/loadgen/stub_server.h"

#include <algorithm>
#include <utility>

namespace longhaul::loadgen {
namespace {

using Clock = StubServer::Clock;

Clock::duration Seconds(double seconds) {
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

}  // namespace

// One stream: a timer and a write take turns until all is sent or the client has gone. Keeps itself alive until gRPC is
// done with it; the timer may come later.
class StubServer::Answer : public grpc::ServerWriteReactor<v1::GenerateResponse>,
                           public std::enable_shared_from_this<Answer> {
 public:
  Answer(StubServer& stub, StubAnswer plan, int64_t tokens)
      : stub_(stub), plan_(plan), left_(tokens), last_(Clock::now()) {}

  void Start() {
    self_ = shared_from_this();
    response_.mutable_started();
    StartWrite(&response_);
  }

  void OnWriteDone(bool ok) override {
    const auto self = shared_from_this();  // the end may come before the lock is given back
    const std::lock_guard lock(mutex_);
    writing_ = false;
    if (finishing_) return;
    if (!ok || cancelled_) return End(grpc::Status::CANCELLED);
    if (left_ > 0) {
      stub_.At(last_ + Seconds(first_sent_ ? plan_.gap : plan_.first),
               [self = shared_from_this()] { self->SendChunk(); });
      return;
    }
    v1::Finished& finished = *response_.mutable_finished();
    finished.set_reason(v1::FINISH_REASON_LENGTH);
    finished.mutable_timings()->set_first_token(first_);
    finished.mutable_usage()->set_prompt_tokens(10);
    finished.mutable_usage()->set_cached_tokens(4);
    End(grpc::Status::OK);
  }

  void OnCancel() override {
    const std::lock_guard lock(mutex_);
    cancelled_ = true;
    // gRPC wants no Finish from here.
    stub_.At(Clock::now(), [self = shared_from_this()] { self->EndUnlessWriting(); });
  }

  void OnDone() override {
    {
      const std::lock_guard lock(stub_.mutex_);
      stub_.log_.cancelled += cancelled_ ? 1 : 0;
    }
    self_.reset();
  }

 private:
  // REQUIRES: mutex_ is held, nothing is being written.
  void End(const grpc::Status& status) {
    finishing_ = true;
    {
      const std::lock_guard lock(stub_.mutex_);
      --stub_.log_.running;
    }
    if (status.ok()) {
      StartWriteAndFinish(&response_, {}, status);
    } else {
      Finish(status);
    }
  }

  void EndUnlessWriting() {
    const std::lock_guard lock(mutex_);
    if (!finishing_ && !writing_) End(grpc::Status::CANCELLED);
  }

  void SendChunk() {
    const std::lock_guard lock(mutex_);
    if (finishing_) return;
    const int64_t tokens = std::min(left_, plan_.tokens_per_chunk);
    left_ -= tokens;
    v1::Chunk& chunk = *response_.mutable_chunk();
    chunk.clear_token_ids();
    for (int64_t i = 0; i < tokens; ++i) chunk.add_token_ids(5);
    const Clock::time_point now = Clock::now();
    const double passed = std::chrono::duration<double>(now - last_).count();
    {
      const std::lock_guard log_lock(stub_.mutex_);
      (first_sent_ ? stub_.log_.gaps : stub_.log_.firsts).push_back(passed);
    }
    if (!first_sent_) first_ = passed;
    first_sent_ = true;
    last_ = now;
    writing_ = true;
    StartWrite(&response_);
  }

  StubServer& stub_;
  const StubAnswer plan_;
  std::mutex mutex_;  // taken before the stub's; guards all below
  int64_t left_;
  Clock::time_point last_;
  double first_ = 0;
  bool writing_ = true, first_sent_ = false, finishing_ = false, cancelled_ = false;
  v1::GenerateResponse response_;
  std::shared_ptr<Answer> self_;
};

namespace {

// Ends at once.
class Refusal : public grpc::ServerWriteReactor<v1::GenerateResponse> {
 public:
  explicit Refusal(grpc::StatusCode code) { Finish({code, "planned"}); }
  void OnDone() override { delete this; }
};

}  // namespace

class StubServer::Service : public v1::InferenceService::CallbackService {
 public:
  explicit Service(StubServer& stub) : stub_(stub) {}

  grpc::ServerWriteReactor<v1::GenerateResponse>* Generate(grpc::CallbackServerContext* context,
                                                           const v1::GenerateRequest* request) override {
    StubAnswer plan;
    {
      const std::lock_guard lock(stub_.mutex_);
      if (stub_.log_.requests == 0) stub_.first_request_ = Clock::now();
      plan = stub_.plan_(stub_.log_.requests++);
      if (plan.refuse == grpc::StatusCode::OK) ++stub_.log_.running;
      stub_.log_.most_at_once = std::max(stub_.log_.most_at_once, stub_.log_.running);
      const auto client = context->client_metadata().find("x-client-id");
      if (client != context->client_metadata().end()) {
        ++stub_.log_.client_ids[{client->second.data(), client->second.size()}];
      }
    }
    if (plan.refuse != grpc::StatusCode::OK) return new Refusal(plan.refuse);
    const auto answer = std::make_shared<Answer>(stub_, plan, request->stopping().max_tokens());
    answer->Start();
    return answer.get();
  }

 private:
  StubServer& stub_;
};

StubServer::StubServer(std::function<StubAnswer(int64_t)> plan)
    : plan_(std::move(plan)), service_(std::make_unique<Service>(*this)) {
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
  builder.RegisterService(service_.get());
  server_ = builder.BuildAndStart();
  timer_ = std::jthread([this](const std::stop_token& stop) { RunTimer(stop); });
}

StubServer::~StubServer() {
  server_->Shutdown(std::chrono::system_clock::now());
  timer_ = {};
}

void StubServer::Stall(double after, double length) {
  const std::lock_guard lock(mutex_);
  stall_after_ = after;
  stall_length_ = length;
}

StubServer::Log StubServer::log() {
  const std::lock_guard lock(mutex_);
  return log_;
}

void StubServer::At(Clock::time_point time, std::function<void()> action) {
  const std::lock_guard lock(mutex_);
  const Clock::time_point begin = first_request_ + Seconds(stall_after_), end = begin + Seconds(stall_length_);
  due_.emplace(time >= begin && time < end ? end : time, std::move(action));
  changed_.notify_all();
}

void StubServer::RunTimer(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (!stop.stop_requested()) {
    if (due_.empty()) {
      changed_.wait(lock, stop, [&] { return !due_.empty(); });
    } else if (due_.begin()->first > Clock::now()) {
      const Clock::time_point next = due_.begin()->first;
      changed_.wait_until(lock, stop, next, [&] { return !due_.empty() && due_.begin()->first < next; });
    } else {
      const std::function<void()> action = std::move(due_.extract(due_.begin()).mapped());
      lock.unlock();
      action();
      lock.lock();
    }
  }
}

}  // namespace longhaul::loadgen
