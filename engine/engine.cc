#include "engine/engine.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/exceptions.h"
#include "engine/base/field_error.h"
#include "engine/base/log.h"
#include "engine/base/memory_limit.h"
#include "engine/base/overload.h"
#include "engine/base/start_thread.h"
#include "engine/base/status_copy.h"
#include "engine/base/status_macros.h"
#include "engine/engine_impl.h"
#include "engine/model/model_file.h"
#include "engine/model/single_runner.h"
#include "engine/model/vocabulary_reader.h"
#include "engine/request/request_check.h"

namespace longhaul {
namespace {

constexpr size_t kTextThreads = 2;

absl::StatusOr<int64_t> ResolveMaxRows(const EngineOptions& options, const StepLimits& limits) {
  constexpr int64_t kDefault = 257;  // 256 documents and the empty one
  const int64_t most = std::min(limits.max_tokens, limits.max_logit_rows);
  if (options.max_rows == 0) return std::min(kDefault, most);
  if (options.max_rows >= 1 && options.max_rows <= most) return options.max_rows;
  return absl::InvalidArgumentError(absl::StrCat("--max-rows: ", options.max_rows, " is not allowed; a step of ",
                                                 limits.max_tokens, " tokens (--max-batch-tokens) and ",
                                                 limits.max_logit_rows, " logit rows holds 1 to ", most));
}

// Out of memory, as opposed to an Overload: no limit was reached.
bool IsNoMemory(const absl::Status& status) {
  return absl::IsResourceExhausted(status) && !OverloadOf(status).has_value();
}

}  // namespace

EngineImpl::EngineImpl(const EngineOptions& options, EngineParts parts)
    : options_(options),
      time_(*parts.time),
      encoder_(std::move(parts.encoder)),
      runner_(std::move(parts.runner)),
      positions_(std::move(parts.positions)),
      info_(std::move(parts.info)),
      registry_({options.max_client_requests, options.max_client_queued_tokens}),
      pool_(runner_->info().geometry),
      scheduler_({.max_tokens = runner_->info().limits.max_tokens,
                  .max_logit_rows = runner_->info().limits.max_logit_rows,
                  .max_rows = options.max_rows,
                  .step_target = std::chrono::duration<double>(options.step_target).count(),
                  .reserve_after = std::chrono::duration<double>(options.reserve_after).count(),
                  .prefix_cache = options.prefix_cache},
                 pool_),
      pipeline_(*runner_, scheduler_, time_),
      active_(scheduler_, telemetry_, time_,
              {.stall_timeout = options.stream_stall_timeout,
               .on_left_queue = [this] { waiting_.fetch_sub(1); },
               .on_ended = [this] { CountFinished(); }}),
      context_{pool_, telemetry_, active_.ready(), options.progress_interval},
      preparer_(*encoder_, *positions_, context_, time_,
                {options.max_request_tokens, options.max_rows, info_.engine_fingerprint}),
      text_pool_(std::make_unique<WorkQueue>(kTextThreads, "text")) {
  stepped_.reserve(static_cast<size_t>(options.max_rows));
  thread_ = StartThread("engine", [this] { Loop(); });
}

EngineImpl::~EngineImpl() {
  {
    MutexLock lock(mutex_);
    draining_ = true;
  }
  preparer_.GiveUp();
  text_pool_.reset();  // requests that are being tokenized still arrive, and end below
  {
    MutexLock lock(mutex_);
    stopping_ = true;
  }
  Wake();
  thread_.join();
}

void EngineImpl::Wake() {
  {
    MutexLock lock(mutex_);
    attention_ = true;
  }
  changed_.NotifyOne();
}

absl::Status EngineImpl::RunOnTextPool(std::function<void()> work) {
  {
    MutexLock lock(mutex_);
    if (draining_) return DrainingError();
    ++unfinished_;
  }
  const absl::Status added = CatchExceptions([&] {
    text_pool_->Add([this, work = std::move(work)] {
      const absl::Status done = CatchExceptions([&] {
        work();
        return absl::OkStatus();
      });
      if (!done.ok()) LogError("work on texts failed: ", done.message());
      CountFinished();
    });
    return absl::OkStatus();
  });
  if (!added.ok()) CountFinished();
  return added;
}

absl::StatusOr<std::vector<TokenId>> EngineImpl::Tokenize(const Prompt& prompt, bool parse_special,
                                                          const StopCondition& stopped) const {
  LH_RETURN_IF_ERROR(CheckPrompt(prompt));
  if (preparer_.gives_up()) return DrainedError();
  auto ids = encoder_->Encode(prompt, parse_special, [&] { return preparer_.gives_up() || (stopped && stopped()); });
  if (absl::IsCancelled(ids.status()) && preparer_.gives_up()) return DrainedError();
  return ids;
}

absl::StatusOr<std::string> EngineImpl::Detokenize(std::span<const TokenId> ids, bool special, size_t max_bytes) const {
  if (preparer_.gives_up()) return DrainedError();
  LH_RETURN_IF_ERROR(encoder_->CheckIds("token_ids.ids", ids));
  const Tokenizer& tokenizer = encoder_->tokenizer();
  if (const size_t bytes = tokenizer.DetokenizedBytes(ids, special); bytes > max_bytes) {
    return FieldError("token_ids",
                      absl::StrCat(bytes, " bytes of text are more than the ", max_bytes, " of one answer"));
  }
  return tokenizer.Detokenize(ids, special);
}

EngineStats EngineImpl::Stats() const {
  const int64_t waiting_tokens = registry_.queued_tokens();
  MutexLock lock(mutex_);
  EngineStats stats = stats_;
  stats.waiting = waiting_.load();
  stats.waiting_tokens = waiting_tokens;
  stats.retry_after = RetryAfter(waiting_tokens, tokens_per_second_);
  return stats;
}

std::shared_ptr<EventStream> EngineImpl::Submit(Request request, EventStream::OnReady on_ready) {
  const Clock::time_point submitted = time_.Now();
  if (!request.deadline.has_value() && options_.max_request_time.count() > 0) {
    request.max_time = options_.max_request_time;
    request.deadline = submitted + request.max_time;
  }
  const auto* generate = std::get_if<GenerateParams>(&request.params);
  // Not checked yet: within what any engine could run.
  const size_t answers =
      generate != nullptr ? static_cast<size_t>(std::clamp<int64_t>(generate->samples, 1, int64_t{1} << 16)) : 1;
  auto stream =
      std::make_shared<EventStream>(options_.events_per_stream * answers, std::move(on_ready), time_, answers);
  absl::Status wrong = CatchExceptions([&] { return CheckRequest(request); });
  bool draining = false;
  absl::Status lost;
  {
    MutexLock lock(mutex_);
    ++unfinished_;
    draining = draining_;
    lost = UnsharedCopy(lost_);
  }
  if (!wrong.ok()) {
    Refuse(*stream, std::move(wrong));
    return stream;
  }
  if (!lost.ok()) {
    Refuse(*stream, std::move(lost));
    return stream;
  }
  if (draining) {
    telemetry_.rejections[Rejection::kDraining].Add();
    Refuse(*stream, CatchExceptions(DrainingError));
    return stream;
  }
  const int64_t waiting = waiting_.fetch_add(1);
  absl::Status accepted = CatchExceptions([&] { return Accept(std::move(request), stream, submitted, waiting); });
  if (accepted.ok()) return stream;
  waiting_.fetch_sub(1);
  if (IsNoMemory(accepted)) telemetry_.rejections[Rejection::kNoMemory].Add();
  Refuse(*stream, std::move(accepted));
  return stream;
}

absl::Status EngineImpl::Accept(Request request, const std::shared_ptr<EventStream>& stream,
                                Clock::time_point submitted, int64_t waiting) {
  if (waiting >= options_.max_queue) {
    telemetry_.rejections[Rejection::kQueueFull].Add();
    return OverloadError(absl::StrCat("the queue is full: ", options_.max_queue, " requests are waiting (--max-queue)"),
                         {.reason = "QUEUE_FULL",
                          .flag = "--max-queue",
                          .limit = absl::StrCat(options_.max_queue),
                          .retry_after = Stats().retry_after});
  }
  auto record = registry_.Add(request, stream, submitted, Stats().retry_after);
  if (!record.ok()) {
    telemetry_.rejections[Rejection::kQuota].Add();
    return record.status();
  }
  stream->SetOnRoom([this] { Wake(); });
  RequestPreparer::Arrival arrival{std::move(request), stream, *std::move(record), submitted,
                                   [this] { return Stats().retry_after; }};
  text_pool_->Add([this, arrival = std::move(arrival)]() mutable { Prepare(std::move(arrival)); });
  return absl::OkStatus();
}

void EngineImpl::Prepare(RequestPreparer::Arrival arrival) {
  const std::shared_ptr<EventStream> stream = arrival.stream;
  absl::Status status = CatchExceptions([&]() -> absl::Status {
    absl::StatusOr<StatePtr> made = preparer_.Prepare(std::move(arrival));
    // Moved out, so that only the reader holds the status once it is pushed.
    if (!made.ok()) return std::move(made).status();
    MutexLock lock(mutex_);
    arrivals_.push_back(*std::move(made));
    return absl::OkStatus();
  });
  if (status.ok()) return Wake();
  waiting_.fetch_sub(1);
  if (absl::IsDeadlineExceeded(status)) telemetry_.deadlines_expired[RequestStage::kQueue].Add();
  if (absl::IsUnavailable(status)) telemetry_.rejections[Rejection::kDraining].Add();
  if (absl::IsResourceExhausted(status)) {
    telemetry_.rejections[IsNoMemory(status) ? Rejection::kNoMemory : Rejection::kQuota].Add();
  }
  Refuse(*stream, std::move(status));
}

void EngineImpl::Refuse(EventStream& stream, absl::Status status) {
  stream.SetOnRoom(nullptr);
  stream.Push(Finished{.status = std::move(status), .refused = true});
  CountFinished();
}

void EngineImpl::CountFinished() {
  MutexLock lock(mutex_);
  if (--unfinished_ == 0) all_finished_.NotifyAll();
}

void EngineImpl::Cancel(EventStream& stream) {
  stream.Cancel();
  Wake();
}

int64_t EngineImpl::CancelRequest(const std::string& id) {
  const int64_t cancelled = registry_.Cancel(id);
  if (cancelled > 0) Wake();
  return cancelled;
}

bool EngineImpl::Drain(std::chrono::milliseconds timeout) {
  const Clock::time_point deadline = time_.Now() + timeout;
  MutexLock lock(mutex_);
  draining_ = true;
  while (unfinished_ > 0 && time_.WaitUntil(all_finished_, mutex_, deadline)) {
  }
  if (unfinished_ == 0) return true;
  preparer_.GiveUp();
  drained_ = attention_ = true;
  changed_.NotifyOne();
  while (unfinished_ > 0) all_finished_.Wait(mutex_);
  return false;
}

int64_t KvCacheBytes(const EngineOptions& options) {
  return options.kv_cache_bytes > 0 ? options.kv_cache_bytes : MemoryLimit() / 4;
}

namespace {

absl::StatusOr<std::unique_ptr<Engine>> Load(const EngineOptions& options, const StopCondition& stopped) {
  LH_ASSIGN_OR_RETURN(const ModelFile model, LoadModelFile(options.model_path));
  LH_ASSIGN_OR_RETURN(Vocabulary vocabulary, ReadVocabulary(*model.checkpoint));
  EngineParts parts;
  auto encoder = PromptEncoder::Create(std::move(vocabulary), options.chat_template);
  if (!encoder.ok()) {
    return absl::Status(encoder.status().code(), absl::StrCat(options.model_path, ": ", encoder.status().message()));
  }
  parts.encoder = *std::move(encoder);
  LH_ASSIGN_OR_RETURN(
      PositionResolver positions,
      PositionResolver::Create(model.config.rotation, options.default_position, options.trained_length));
  parts.positions = std::make_unique<PositionResolver>(std::move(positions));
  SingleRunnerOptions runner_options;
  runner_options.backend.compute_type = options.compute_type;
  runner_options.backend.cache_type = options.cache_type;
  runner_options.backend.threads = options.threads;
  runner_options.kv_cache_bytes = KvCacheBytes(options);
  runner_options.limits.max_tokens = options.max_batch_tokens;
  runner_options.one_step_ahead = options.one_step_ahead;
  // Checked before the model is read, which takes long.
  LH_RETURN_IF_ERROR(ResolveMaxRows(options, runner_options.limits).status());
  LH_ASSIGN_OR_RETURN(parts.runner, SingleRunner::Create(model, runner_options, stopped));
  parts.info = DescribeModel(model, *parts.encoder, parts.runner->info(), *parts.positions);
  return Engine::Create(options, std::move(parts));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Engine>> Engine::Create(const EngineOptions& options, EngineParts parts) {
  EngineOptions resolved = options;
  LH_ASSIGN_OR_RETURN(resolved.max_rows, ResolveMaxRows(options, parts.runner->info().limits));
  return std::make_unique<EngineImpl>(resolved, std::move(parts));
}

absl::StatusOr<std::unique_ptr<Engine>> Engine::Create(const EngineOptions& options, const StopCondition& stopped) {
  std::unique_ptr<Engine> engine;
  const absl::Status status = CatchExceptions([&]() -> absl::Status {
    LH_ASSIGN_OR_RETURN(engine, Load(options, stopped));
    return absl::OkStatus();
  });
  if (status == OutOfMemoryError()) {
    return absl::ResourceExhaustedError(absl::StrCat(options.model_path, ": there is not enough memory to load it"));
  }
  if (!status.ok()) return status;
  return engine;
}

}  // namespace longhaul
