#include "client/loadgen/stream.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <utility>

#include "absl/status/status.h"

namespace longhaul::loadgen {
namespace {

using Clock = std::chrono::steady_clock;

class GenerateStream final : public Stream,
                             public grpc::ClientReadReactor<v1::GenerateResponse>,
                             public std::enable_shared_from_this<GenerateStream> {
 public:
  GenerateStream(PlannedRequest planned, const SendOptions& options, std::function<void(int64_t)> on_tokens,
                 std::function<void(Stream*, const StreamRecord&)> on_end)
      : planned_(std::move(planned)),
        begin_(options.run_begin),
        on_tokens_(std::move(on_tokens)),
        on_end_(std::move(on_end)) {
    record_.intended = options.intended;
    record_.output_tokens = planned_.output_tokens;
    record_.position = planned_.position;
    record_.chunks.reserve(static_cast<size_t>(std::min<int64_t>(planned_.output_tokens, 1024)));
    if (!options.request_id.empty()) context_->AddMetadata("x-request-id", options.request_id);
    if (!options.client_id.empty()) context_->AddMetadata("x-client-id", options.client_id);
    if (options.timeout > 0) {
      context_->set_deadline(std::chrono::system_clock::now() +
                             std::chrono::microseconds(static_cast<int64_t>(options.timeout * 1e6)));
    }
  }

  void Send(v1::InferenceService::Stub& stub) override {
    self_ = shared_from_this();
    record_.sent = Now();
    stub.async()->Generate(context_.get(), &planned_.request, this);
    StartRead(&response_);
    StartCall();
  }

  void Abandon() override {
    const std::lock_guard lock(mutex_);
    abandoned_ = true;
    if (context_ != nullptr) context_->TryCancel();
  }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    const double now = Now();
    if (response_.has_chunk()) {
      if (const int64_t tokens = response_.chunk().token_ids_size(); tokens > 0) TakeTokens(now, tokens);
    } else if (response_.has_finished()) {
      const v1::Timings& t = response_.finished().timings();
      const v1::Usage& usage = response_.finished().usage();
      record_.server = {.queue = t.queue(),
                        .prefill = t.prefill(),
                        .decode = t.decode(),
                        .first_token = t.first_token(),
                        .prompt_tokens = static_cast<int64_t>(usage.prompt_tokens()),
                        .cached_tokens = static_cast<int64_t>(usage.cached_tokens())};
    }
    StartRead(&response_);
  }

  void OnDone(const grpc::Status& status) override {
    record_.ended = Now();
    using End = StreamRecord::End;
    if (status.ok()) {
      record_.end = End::kAnswered;
    } else if (cancelled_ && status.error_code() == grpc::StatusCode::CANCELLED) {
      record_.end = End::kCancelled;
    } else if (abandoned_ && status.error_code() == grpc::StatusCode::CANCELLED) {
      record_.end = End::kUnfinished;
      record_.error = "unfinished";
    } else {
      record_.end = End::kFailed;
      record_.error = absl::StatusCodeToString(static_cast<absl::StatusCode>(status.error_code()));
      record_.message = status.error_message();
    }
    // Dropping this reference may destroy the object. Release its context, and with it the channel, before on_end_: the
    // last reference to the channel must not go on this thread, because gRPC then joins this thread.
    const std::shared_ptr<GenerateStream> self = std::move(self_);
    {
      const std::lock_guard lock(mutex_);
      context_ = nullptr;
    }
    on_end_(this, record_);
  }

 private:
  double Now() const { return std::chrono::duration<double>(Clock::now() - begin_).count(); }

  void TakeTokens(double now, int64_t tokens) {
    record_.chunks.push_back({now, tokens});
    received_ += tokens;
    on_tokens_(tokens);
    if (cancelled_ || !planned_.cancel_after.has_value() || received_ < *planned_.cancel_after) return;
    cancelled_ = true;
    context_->TryCancel();
  }

  const PlannedRequest planned_;
  const Clock::time_point begin_;
  const std::function<void(int64_t)> on_tokens_;
  const std::function<void(Stream*, const StreamRecord&)> on_end_;
  std::mutex mutex_;  // between Abandon and the end
  std::unique_ptr<grpc::ClientContext> context_ = std::make_unique<grpc::ClientContext>();
  v1::GenerateResponse response_;
  StreamRecord record_;
  int64_t received_ = 0;
  bool cancelled_ = false;  // as planned
  std::atomic<bool> abandoned_ = false;
  std::shared_ptr<GenerateStream> self_;
};

}  // namespace

std::shared_ptr<Stream> Stream::Make(PlannedRequest planned, const SendOptions& options,
                                     std::function<void(int64_t)> on_tokens,
                                     std::function<void(Stream*, const StreamRecord&)> on_end) {
  return std::make_shared<GenerateStream>(std::move(planned), options, std::move(on_tokens), std::move(on_end));
}

}  // namespace longhaul::loadgen
