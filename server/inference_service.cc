#include "server/inference_service.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/base/log.h"
#include "engine/base/mutex.h"
#include "engine/base/quoted.h"
#include "engine/base/status_macros.h"
#include "engine/base/utf8.h"
#include "server/conversions.h"
#include "server/front/peer_name.h"
#include "server/position_conversion.h"
#include "server/raw_message.h"
#include "server/status_conversion.h"

namespace longhaul {
namespace {

// A name that the client gave in its metadata, else `fallback`. It is logged and sent back, and gRPC ends the process
// over a header that it may receive but not send: INVALID_ARGUMENT unless all of it is printable ASCII.
absl::StatusOr<std::string> NameFrom(const grpc::CallbackServerContext& context, const char* key,
                                     std::string fallback) {
  constexpr size_t kMaxBytes = 128;
  const auto found = context.client_metadata().find(key);
  if (found == context.client_metadata().end()) return fallback;
  std::string name(found->second.data(), found->second.size());
  const bool printable = std::all_of(name.begin(), name.end(), [](char c) { return c >= 0x20 && c <= 0x7e; });
  if (name.empty() || name.size() > kMaxBytes || !printable) {
    return absl::InvalidArgumentError(absl::StrCat(key, ": ", Quoted(name), " of ", name.size(),
                                                   " bytes is not allowed; it must be 1 to ", kMaxBytes,
                                                   " characters of printable ASCII"));
  }
  return name;
}

std::string MadeUpId() {
  static thread_local std::mt19937_64 generator{std::random_device{}()};
  return absl::StrFormat("%016x", generator());
}

// None when there is none, or one beyond a year: the wire's largest are past the end of the system clock.
std::optional<Clock::time_point> DeadlineOf(const grpc::CallbackServerContext& context) {
  constexpr int64_t kYear = 365 * 24 * 3600;
  const gpr_timespec deadline = context.raw_deadline();
  const gpr_timespec left = gpr_time_sub(deadline, gpr_now(deadline.clock_type));
  if (left.tv_sec > kYear) return std::nullopt;
  return Clock::now() + std::chrono::seconds(left.tv_sec) + std::chrono::nanoseconds(left.tv_nsec);
}

// Fills what comes from the call itself; the request id goes back to the client.
absl::StatusOr<Request> RequestFor(grpc::CallbackServerContext& context) {
  Request request;
  LH_ASSIGN_OR_RETURN(request.id, NameFrom(context, "x-request-id", MadeUpId()));
  LH_ASSIGN_OR_RETURN(request.client, NameFrom(context, "x-client-id", HostOfPeer(PeerOfGrpc(context.peer()))));
  context.AddInitialMetadata("x-request-id", request.id);
  request.deadline = DeadlineOf(context);
  return request;
}

// Ends an RPC at once.
class Refusal : public grpc::ServerWriteReactor<grpc::ByteBuffer> {
 public:
  explicit Refusal(const absl::Status& status) { Finish(ToGrpc(status)); }
  void OnDone() override { delete this; }
};

// Carries a request's events to its client. Lives until gRPC is done with the RPC, and as long as the pump holds it.
template <typename Response>
class StreamReactor : public grpc::ServerWriteReactor<grpc::ByteBuffer>,
                      public EventWriter,
                      public std::enable_shared_from_this<StreamReactor<Response>> {
 public:
  // Holds `share` of the budget while the request waits.
  StreamReactor(Engine& engine, std::shared_ptr<EventPump> pump, std::string id, std::shared_ptr<void> share)
      : engine_(engine), pump_(std::move(pump)), id_(std::move(id)), share_(std::move(share)) {}

  void Start(Request request) {
    self_ = this->shared_from_this();
    const std::weak_ptr<EventWriter> weak = self_;
    auto stream = engine_.Submit(std::move(request), [pump = pump_, weak](bool more) { pump->Note(weak, more); });
    {
      MutexLock lock(mutex_);
      stream_ = std::move(stream);
      if (cancelled_) engine_.Cancel(*stream_);
    }
    Pull();
  }

  void Pull() override {
    MutexLock lock(mutex_);
    if (writing_ || finished_ || stream_ == nullptr) return;
    std::optional<Event> event = next_.has_value() ? std::exchange(next_, std::nullopt) : stream_->TryNext();
    if (!event.has_value()) return;
    share_.reset();
    writing_ = true;
    Response response;
    if (const auto* finished = std::get_if<Finished>(&*event)) {
      finished_ = true;
      const grpc::Status status = ToGrpc(finished->status);
      LogDebug("request ", id_, " ended: ", Name(finished->reason), ", ", finished->usage.prompt_tokens, " + ",
               finished->usage.completion_tokens, " tokens; ", finished->status.ToString());
      if (finished->refused) {
        this->Finish(status);
        return;
      }
      ToWire(*event, response);
      Serialize(response, buffer_);
      this->StartWriteAndFinish(&buffer_, grpc::WriteOptions(), status);
      return;
    }
    ToWire(*event, response);
    // A reader who fell behind gets what is there in one message.
    while ((next_ = stream_->TryNext()).has_value() && Coalesce(*next_, response)) {
    }
    Serialize(response, buffer_);
    this->StartWrite(&buffer_);
  }

  void OnWriteDone(bool ok) override {
    pump_->AwaitPulls();
    {
      MutexLock lock(mutex_);
      writing_ = false;
    }
    if (!ok) OnCancel();
    Pull();
  }

  void OnCancel() override {
    MutexLock lock(mutex_);
    cancelled_ = true;
    if (stream_ != nullptr) engine_.Cancel(*stream_);
  }

  void OnDone() override { self_.reset(); }

 private:
  Engine& engine_;
  const std::shared_ptr<EventPump> pump_;
  const std::string id_;
  std::shared_ptr<StreamReactor> self_;
  Mutex mutex_;
  std::shared_ptr<void> share_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<EventStream> stream_ ABSL_GUARDED_BY(mutex_);
  std::optional<Event> next_ ABSL_GUARDED_BY(mutex_);  // taken, and to be written next
  grpc::ByteBuffer buffer_ ABSL_GUARDED_BY(mutex_);
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace

template <typename RequestMessage, typename Response>
grpc::ServerWriteReactor<grpc::ByteBuffer>* InferenceService::Stream(grpc::CallbackServerContext* context,
                                                                     const grpc::ByteBuffer* buffer) {
  Engine* const engine = engine_.load();
  if (engine == nullptr) return new Refusal(Loading());
  absl::StatusOr<std::shared_ptr<void>> share =
      budget_.Take(static_cast<int64_t>(buffer->Length()), [engine] { return engine->Stats().retry_after; });
  if (!share.ok()) {
    engine->telemetry().rejections[Rejection::kQueueFull].Add();
    return new Refusal(share.status());
  }
  absl::StatusOr<RequestMessage> message = TakeMessage<RequestMessage>(*buffer);
  if (!message.ok()) return new Refusal(message.status());
  absl::StatusOr<Request> request = RequestFor(*context);
  if (!request.ok()) return new Refusal(request.status());
  request->priority = message->priority();
  auto params = FromWire(*std::move(message));
  if (!params.ok()) return new Refusal(params.status());
  request->params = *std::move(params);
  auto reactor = std::make_shared<StreamReactor<Response>>(*engine, pump_, request->id, *std::move(share));
  reactor->Start(*std::move(request));
  return reactor.get();
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* InferenceService::Generate(grpc::CallbackServerContext* context,
                                                                       const grpc::ByteBuffer* request) {
  return Stream<v1::GenerateRequest, v1::GenerateResponse>(context, request);
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* InferenceService::Score(grpc::CallbackServerContext* context,
                                                                    const grpc::ByteBuffer* request) {
  return Stream<v1::ScoreRequest, v1::ScoreResponse>(context, request);
}

template <typename RequestMessage, typename Response, typename Work>
grpc::ServerUnaryReactor* InferenceService::Unary(grpc::CallbackServerContext* context, const grpc::ByteBuffer* buffer,
                                                  grpc::ByteBuffer* response_buffer, Work work) {
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  Engine* const engine = engine_.load();
  if (engine == nullptr) {
    reactor->Finish(ToGrpc(Loading()));
    return reactor;
  }
  const absl::StatusOr<RequestMessage> request = TakeMessage<RequestMessage>(*buffer);
  absl::Status status = request.status();
  if (status.ok()) {
    Response response;
    status = work(*engine, *request, response);
    if (status.ok()) Serialize(response, *response_buffer);
  }
  reactor->Finish(ToGrpc(status));
  return reactor;
}

template <typename RequestMessage, typename Response, typename Work>
grpc::ServerUnaryReactor* InferenceService::UnaryOnTextPool(grpc::CallbackServerContext* context,
                                                            const grpc::ByteBuffer* buffer,
                                                            grpc::ByteBuffer* response_buffer, Work work) {
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  Engine* const engine = engine_.load();
  if (engine == nullptr) {
    reactor->Finish(ToGrpc(Loading()));
    return reactor;
  }
  absl::StatusOr<std::shared_ptr<void>> share =
      budget_.Take(static_cast<int64_t>(buffer->Length()), [engine] { return engine->Stats().retry_after; });
  absl::StatusOr<RequestMessage> request =
      share.ok() ? TakeMessage<RequestMessage>(*buffer) : absl::StatusOr<RequestMessage>(share.status());
  if (!request.ok()) {
    reactor->Finish(ToGrpc(request.status()));
    return reactor;
  }
  engine->RunOnTextPool([=, share = *std::move(share), request = *std::move(request)]() mutable {
    Response response;
    const StopCondition stopped = [context] { return context->IsCancelled(); };
    const absl::Status status = stopped() ? absl::CancelledError("the request was cancelled")
                                          : work(*engine, std::move(request), stopped, response);
    if (status.ok()) Serialize(response, *response_buffer);
    share.reset();  // while the service is there: with the call it may go
    reactor->Finish(ToGrpc(status));
  });
  return reactor;
}

grpc::ServerUnaryReactor* InferenceService::Tokenize(grpc::CallbackServerContext* context,
                                                     const grpc::ByteBuffer* request, grpc::ByteBuffer* response) {
  return UnaryOnTextPool<v1::TokenizeRequest, v1::TokenizeResponse>(
      context, request, response,
      [](Engine& engine, v1::TokenizeRequest&& message, const StopCondition& stopped,
         v1::TokenizeResponse& out) -> absl::Status {
        const auto ids =
            engine.Tokenize(FromWire(std::move(*message.mutable_prompt())), message.parse_special(), stopped);
        if (!ids.ok()) return ids.status();
        for (TokenId id : *ids) {
          out.add_ids(id);
          if (message.pieces()) out.add_pieces(engine.TokenBytes(id));
        }
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* InferenceService::Detokenize(grpc::CallbackServerContext* context,
                                                       const grpc::ByteBuffer* request, grpc::ByteBuffer* response) {
  return UnaryOnTextPool<v1::DetokenizeRequest, v1::DetokenizeResponse>(
      context, request, response,
      [](Engine& engine, v1::DetokenizeRequest&& message, const StopCondition&,
         v1::DetokenizeResponse& out) -> absl::Status {
        const auto& ids = message.token_ids().ids();
        auto text = engine.Detokenize({ids.begin(), ids.end()}, message.special());
        if (!text.ok()) return text.status();
        out.set_text(TakeUtf8(*text, /*at_end=*/true));
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* InferenceService::GetModel(grpc::CallbackServerContext* context,
                                                     const grpc::ByteBuffer* request, grpc::ByteBuffer* response) {
  return Unary<v1::GetModelRequest, v1::GetModelResponse>(
      context, request, response,
      [](Engine& engine, const v1::GetModelRequest& message, v1::GetModelResponse& out) -> absl::Status {
        out = ToWire(engine.model(), engine.Stats());
        if (!message.has_position()) return absl::OkStatus();
        LH_ASSIGN_OR_RETURN(const PositionMode mode, FromWire(message.position()));
        LH_ASSIGN_OR_RETURN(const int64_t length, TokensFromWire("length", message.length()));
        LH_ASSIGN_OR_RETURN(const ResolvedPosition resolved, engine.ResolvePosition(mode, length));
        *out.mutable_plan() = ToWire(resolved);
        return absl::OkStatus();
      });
}

}  // namespace longhaul
