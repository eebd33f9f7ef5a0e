#include "server/grpc/inference_service.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/base/exceptions.h"
#include "engine/base/field_error.h"
#include "engine/base/log.h"
#include "engine/base/mutex.h"
#include "engine/base/quoted.h"
#include "engine/base/status_macros.h"
#include "engine/base/utf8.h"
#include "server/front/peer_name.h"
#include "server/grpc/conversions.h"
#include "server/grpc/position_conversion.h"
#include "server/grpc/raw_message.h"
#include "server/grpc/text_bounds.h"
#include "server/grpc/unary_reactor.h"
#include "server/status/status_conversion.h"

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
    return NotAllowed(key, absl::StrCat(Quoted(name), " of ", name.size(), " bytes"),
                      absl::StrCat("1 to ", kMaxBytes, " characters of printable ASCII"));
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
// While the request runs the engine sees to a client who takes nothing; what is left when it has ended, and the client
// does not take, ends with the RPC.
template <typename Response>
class StreamReactor : public grpc::ServerWriteReactor<grpc::ByteBuffer>,
                      public EventWriter,
                      public std::enable_shared_from_this<StreamReactor<Response>> {
 public:
  // Holds `waiting` of the budget of `holder` until the tokens of the request are known.
  StreamReactor(Engine& engine, CallLimits& limits, std::shared_ptr<EventPump> pump,
                grpc::CallbackServerContext& context, std::string id, RequestBudget::Holder holder,
                RequestBudget::Share waiting)
      : engine_(engine),
        limits_(limits),
        pump_(std::move(pump)),
        context_(context),
        id_(std::move(id)),
        holder_(std::move(holder)),
        waiting_(std::move(waiting)) {}

  // Throws what Submit does: then it is not to be used.
  void Start(Request request) {
    const std::weak_ptr<EventWriter> weak = this->weak_from_this();
    auto stream = engine_.Submit(std::move(request), [pump = pump_, weak](bool more) { pump->Note(weak, more); });
    self_ = this->shared_from_this();
    {
      MutexLock lock(mutex_);
      stream_ = std::move(stream);
      if (cancelled_) engine_.Cancel(*stream_);
    }
    Pull();
  }

  void Pull() override {
    MutexLock lock(mutex_);
    if (finished_ || stream_ == nullptr) return;
    const absl::Status status = CatchExceptions([&] {
      WriteNext();
      return absl::OkStatus();
    });
    if (status.ok() || writing_) return;
    // What was to be written is lost, so the rest is worth nothing.
    finished_ = true;
    engine_.Cancel(*stream_);
    this->Finish(ToGrpc(status));
  }

  void OnWriteDone(bool ok) override {
    pump_->AwaitPulls();
    {
      MutexLock lock(mutex_);
      writing_ = lingers_ = false;
      LetGo();
    }
    if (!ok) OnCancel();
    Pull();
  }

  void OnCancel() override {
    MutexLock lock(mutex_);
    cancelled_ = true;
    if (stream_ != nullptr) engine_.Cancel(*stream_);
  }

  void OnDone() override {
    {
      MutexLock lock(mutex_);
      LetGo();  // the pump may hold this longer than there is a call
      waiting_.Release();
    }
    self_.reset();
  }

 private:
  // Writes what comes next, unless something is being written. May throw; then nothing is being written, or what is
  // goes on.
  void WriteNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (writing_) {
      if (stream_->ended() && !lingers_) Linger();
      return;
    }
    std::optional<Event> event = next_.has_value() ? std::exchange(next_, std::nullopt) : stream_->TryNext();
    if (!event.has_value()) return;
    Weigh(*event);
    Response response;
    if (const auto* finished = std::get_if<Finished>(&*event)) {
      const grpc::Status status = ToGrpc(finished->status);
      LogDebug("request ", id_, " ended: ", Name(finished->reason), ", ", finished->usage.prompt_tokens, " + ",
               finished->usage.completion_tokens, " tokens; ", finished->status.ToString());
      if (!finished->refused) {
        ToWire(*event, response);
        Fill(response);
      }
      finished_ = writing_ = true;
      if (finished->refused) return this->Finish(status);
      this->StartWriteAndFinish(&buffer_, grpc::WriteOptions(), status);
      return;
    }
    ToWire(*event, response);
    // A reader who fell behind gets what is there in one message.
    while ((next_ = stream_->TryNext()).has_value() && Coalesce(*next_, response)) Weigh(*next_);
    Fill(response);
    writing_ = true;
    this->StartWrite(&buffer_);
  }

  // A request that waits holds its tokens, and counts as they do until the engine has begun with it.
  void Weigh(const Event& event) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    constexpr int64_t kTokenBytes = 8;
    if (const auto* started = std::get_if<Started>(&event)) {
      waiting_ = limits_.budget.Hold(holder_, kTokenBytes * started->prompt_tokens);
    } else {
      waiting_.Release();
    }
  }

  // The message to write now, which counts in the budget as long as gRPC holds it.
  void Fill(const Response& response) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    Serialize(response, buffer_);
    share_ = limits_.budget.Hold(holder_, static_cast<int64_t>(buffer_.Length()));
    if (stream_->ended()) Linger();
  }

  // The engine has done with the request, and a message is being written.
  void Linger() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    lingers_ = true;
    watched_ = limits_.stalls.Watch(context_);
    share_ = limits_.budget.Hold(holder_, static_cast<int64_t>(buffer_.Length()) + stream_->UnreadBytes() +
                                              (next_.has_value() ? MemoryOf(*next_) : 0));
  }

  // gRPC has done with the message.
  void LetGo() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    buffer_.Clear();
    share_.Release();
    watched_.Release();
  }

  Engine& engine_;
  CallLimits& limits_;
  const std::shared_ptr<EventPump> pump_;
  grpc::CallbackServerContext& context_;
  const std::string id_;
  std::shared_ptr<StreamReactor> self_;
  Mutex mutex_;
  const RequestBudget::Holder holder_;
  RequestBudget::Share waiting_ ABSL_GUARDED_BY(mutex_);  // for the request
  RequestBudget::Share share_ ABSL_GUARDED_BY(mutex_);    // for what is being written
  StallWatch::Watched watched_ ABSL_GUARDED_BY(mutex_);   // while it lingers
  std::shared_ptr<EventStream> stream_ ABSL_GUARDED_BY(mutex_);
  std::optional<Event> next_ ABSL_GUARDED_BY(mutex_);  // taken, and to be written next
  grpc::ByteBuffer buffer_ ABSL_GUARDED_BY(mutex_);
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool lingers_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace

template <typename RequestMessage, typename Response>
grpc::ServerWriteReactor<grpc::ByteBuffer>* InferenceService::Stream(grpc::CallbackServerContext* context,
                                                                     const grpc::ByteBuffer* buffer) {
  grpc::ServerWriteReactor<grpc::ByteBuffer>* started = nullptr;
  const absl::Status status = CatchExceptions([&]() -> absl::Status {
    Engine* const engine = engine_.load();
    if (engine == nullptr) return Loading();
    RequestBudget::Holder holder = limits_.budget.HolderOf(context->peer());
    auto share = limits_.budget.Take(holder, static_cast<int64_t>(buffer->Length()),
                                     [engine] { return engine->Stats().retry_after; });
    if (!share.ok()) {
      engine->telemetry().rejections[Rejection::kQueueFull].Add();
      return share.status();
    }
    LH_ASSIGN_OR_RETURN(RequestMessage message, TakeMessage<RequestMessage>(*buffer));
    LH_ASSIGN_OR_RETURN(Request request, RequestFor(*context));
    request.priority = message.priority();
    LH_ASSIGN_OR_RETURN(request.params, FromWire(std::move(message)));
    const auto reactor = std::make_shared<StreamReactor<Response>>(*engine, limits_, pump_, *context, request.id,
                                                                   std::move(holder), *std::move(share));
    reactor->Start(std::move(request));
    started = reactor.get();
    return absl::OkStatus();
  });
  return status.ok() ? started : new Refusal(status);
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* InferenceService::Generate(grpc::CallbackServerContext* context,
                                                                       const grpc::ByteBuffer* request) {
  return Stream<v1::GenerateRequest, v1::GenerateResponse>(context, request);
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* InferenceService::Score(grpc::CallbackServerContext* context,
                                                                    const grpc::ByteBuffer* request) {
  return Stream<v1::ScoreRequest, v1::ScoreResponse>(context, request);
}

grpc::ServerUnaryReactor* InferenceService::Tokenize(grpc::CallbackServerContext* context,
                                                     const grpc::ByteBuffer* request, grpc::ByteBuffer* response) {
  return AnswerUnaryOnTextPool<v1::TokenizeRequest, v1::TokenizeResponse>(
      limits_, engine_.load(), context, request, response, CheckTokenize,
      [](Engine& engine, v1::TokenizeRequest&& message, const StopCondition& stopped,
         v1::TokenizeResponse& out) -> absl::Status {
        LH_ASSIGN_OR_RETURN(const Prompt prompt, FromWire(std::move(*message.mutable_prompt())));
        LH_ASSIGN_OR_RETURN(const std::vector<TokenId> ids, engine.Tokenize(prompt, message.parse_special(), stopped));
        if (message.pieces()) {
          LH_RETURN_IF_ERROR(CheckPieces(engine, ids));
          out.mutable_pieces()->Reserve(static_cast<int>(ids.size()));
          for (TokenId id : ids) {
            const std::string_view piece = engine.TokenBytes(id);
            out.add_pieces(piece.data(), piece.size());
          }
        }
        out.mutable_ids()->Add(ids.begin(), ids.end());
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* InferenceService::Detokenize(grpc::CallbackServerContext* context,
                                                       const grpc::ByteBuffer* request, grpc::ByteBuffer* response) {
  return AnswerUnaryOnTextPool<v1::DetokenizeRequest, v1::DetokenizeResponse>(
      limits_, engine_.load(), context, request, response, CheckDetokenize,
      [](Engine& engine, v1::DetokenizeRequest&& message, const StopCondition&,
         v1::DetokenizeResponse& out) -> absl::Status {
        const auto& ids = message.token_ids().ids();
        LH_ASSIGN_OR_RETURN(std::string bytes, engine.Detokenize({ids.data(), static_cast<size_t>(ids.size())},
                                                                 message.special(), kMaxTextBytes));
        std::string text = TakeUtf8(bytes, /*at_end=*/true);
        LH_RETURN_IF_ERROR(CheckTextBytes("token_ids", text.size()));
        out.set_text(std::move(text));
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* InferenceService::GetModel(grpc::CallbackServerContext* context,
                                                     const grpc::ByteBuffer* request, grpc::ByteBuffer* response) {
  return AnswerUnary<v1::GetModelRequest, v1::GetModelResponse>(
      limits_, engine_.load(), context, request, response,
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
