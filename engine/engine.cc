#include "engine/engine.h"

#include <algorithm>
#include <atomic>
#include <optional>
#include <thread>
#include <unordered_map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/base/log.h"
#include "engine/base/memory_limit.h"
#include "engine/base/mutex.h"
#include "engine/base/overload.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/base/this_thread.h"
#include "engine/base/work_queue.h"
#include "engine/cache/block_pool.h"
#include "engine/model/model_file.h"
#include "engine/model/model_runner.h"
#include "engine/prompt_encoder.h"
#include "engine/request_preparer.h"
#include "engine/request_registry.h"
#include "engine/request_state.h"
#include "engine/scheduling/scheduler.h"
#include "engine/step_counter.h"
#include "engine/step_rates.h"

namespace longhaul {
namespace {

constexpr size_t kTextThreads = 2;

// The scheduler's time.
double Seconds(Clock::time_point time) {
  return std::chrono::duration<double>(time.time_since_epoch()).count();
}

absl::StatusOr<int64_t> ResolveMaxRows(const EngineOptions& options, const StepLimits& limits) {
  constexpr int64_t kDefault = 257;  // 256 documents and the empty one
  const int64_t most = std::min(limits.max_tokens, limits.max_logit_rows);
  if (options.max_rows == 0) return std::min(kDefault, most);
  if (options.max_rows >= 1 && options.max_rows <= most) return options.max_rows;
  return absl::InvalidArgumentError(absl::StrCat("--max-rows: ", options.max_rows, " is not allowed; a step of ",
                                                 limits.max_tokens, " tokens (--max-batch-tokens) and ",
                                                 limits.max_logit_rows, " logit rows holds 1 to ", most));
}

// The engine over a model runner: one thread owns scheduler, cache and model; callers hand requests over by a queue.
class EngineImpl : public Engine {
 public:
  EngineImpl(const EngineOptions& options, ModelInfo info, std::unique_ptr<PromptEncoder> encoder,
             std::unique_ptr<ModelRunner> runner, PositionResolver positions);
  ~EngineImpl() override;

  std::shared_ptr<EventStream> Submit(Request request, EventStream::OnReady on_ready) override;
  void Cancel(EventStream& stream) override;
  std::vector<RequestInfo> ListRequests() const override { return registry_.List(Clock::now()); }
  int64_t CancelRequest(const std::string& id) override;
  bool Drain(std::chrono::milliseconds timeout) override;
  void RunOnTextPool(std::function<void()> work) override { text_pool_->Add(std::move(work)); }
  absl::StatusOr<std::vector<TokenId>> Tokenize(const Prompt& prompt, bool parse_special,
                                                const StopCondition& stopped) const override {
    return encoder_->Encode(prompt, parse_special, stopped);
  }
  absl::StatusOr<std::string> Detokenize(const std::vector<TokenId>& ids, bool special) const override;
  std::string TokenBytes(TokenId id) const override { return std::string(encoder_->tokenizer().TokenBytes(id)); }
  absl::StatusOr<ResolvedPosition> ResolvePosition(const PositionMode& mode, int64_t length) const override {
    return positions_.Resolve(mode, length);
  }
  const ModelInfo& model() const override { return info_; }
  EngineStats Stats() const override;
  Telemetry& telemetry() override { return telemetry_; }

 private:
  using StatePtr = std::unique_ptr<RequestState>;

  void Refuse(EventStream& stream, absl::Status status);
  void Wake();

  // The engine thread.
  void Loop();
  bool TakeArrivals();  // false when the engine stops
  void DropEnded(Clock::time_point now);
  // Ends what would have its first step now and cannot be read before its deadline; whether there was any.
  bool DropHopeless(Clock::time_point now);
  bool IsTooLate(const RequestState& state, Clock::time_point now) const;
  // When its reader has taken nothing for too long; none while there is room for more.
  std::optional<Clock::time_point> StallsAt(const RequestState& state) const;
  // `begin`: when the scheduling of this step began.
  void RunStep(const Batch& batch, Clock::time_point begin);
  void DistributeResults(StepResult result, double step_seconds, Clock::time_point now);
  void Queue(Group& group, RequestState& state);
  // Takes a request that has finished out of everything.
  void End(RequestState& state);
  // One after the other, so that one wake-up serves all: it costs more than all the rest.
  void TellReaders();
  std::optional<Clock::time_point> NextDeadline() const;

  const EngineOptions options_;
  const std::unique_ptr<PromptEncoder> encoder_;
  const std::unique_ptr<ModelRunner> runner_;
  const PositionResolver positions_;
  const ModelInfo info_;

  RequestRegistry registry_;

  // The engine thread's own.
  BlockPool pool_;
  Scheduler scheduler_;
  std::unordered_map<RequestState*, StatePtr> active_;
  std::unordered_map<Group*, RequestState*> owners_;  // of the scheduler's groups
  StepRates rates_;
  std::vector<RequestState*> stepped_;  // of each group of the step that runs
  std::vector<EventStream*> ready_;     // whose readers are to be told; their requests are still active

  std::atomic<int64_t> waiting_{0};  // submitted and not scheduled for the first time
  mutable Mutex mutex_;
  CondVar changed_;
  std::vector<StatePtr> arrivals_ ABSL_GUARDED_BY(mutex_);
  bool attention_ ABSL_GUARDED_BY(mutex_) = false;  // something changed that the loop must look at
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  bool cancel_all_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  int64_t unfinished_ ABSL_GUARDED_BY(mutex_) = 0;  // submitted and not finished
  CondVar all_finished_;
  EngineStats stats_ ABSL_GUARDED_BY(mutex_);
  std::optional<double> tokens_per_second_ ABSL_GUARDED_BY(mutex_);  // of rates_

  Telemetry telemetry_;
  StepCounter counter_{telemetry_};  // the engine thread's own
  RequestPreparer preparer_;
  std::unique_ptr<WorkQueue> text_pool_;
  std::thread thread_;
};

EngineImpl::EngineImpl(const EngineOptions& options, ModelInfo info, std::unique_ptr<PromptEncoder> encoder,
                       std::unique_ptr<ModelRunner> runner, PositionResolver positions)
    : options_(options),
      encoder_(std::move(encoder)),
      runner_(std::move(runner)),
      positions_(std::move(positions)),
      info_(std::move(info)),
      registry_({options.max_client_requests, options.max_client_queued_tokens}),
      pool_(runner_->n_blocks()),
      scheduler_({.max_tokens = runner_->limits().max_tokens,
                  .max_logit_rows = runner_->limits().max_logit_rows,
                  .max_rows = options.max_rows,
                  .step_target = std::chrono::duration<double>(options.step_target).count(),
                  .reserve_after = std::chrono::duration<double>(options.reserve_after).count(),
                  .prefix_cache = options.prefix_cache},
                 pool_),
      preparer_(*encoder_, positions_, pool_, telemetry_,
                {options.max_request_tokens, options.max_rows, info_.engine_fingerprint}),
      text_pool_(std::make_unique<WorkQueue>(kTextThreads, "text")),
      thread_([this] { Loop(); }) {}

EngineImpl::~EngineImpl() {
  {
    MutexLock lock(mutex_);
    draining_ = true;
  }
  preparer_.GiveUp();
  text_pool_.reset();  // what was being tokenized arrives, and is cancelled below
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

absl::StatusOr<std::string> EngineImpl::Detokenize(const std::vector<TokenId>& ids, bool special) const {
  for (size_t i = 0; i < ids.size(); ++i) {
    LH_RETURN_IF_ERROR(encoder_->CheckId(absl::StrCat("token_ids.ids[", i, "]"), ids[i]));
  }
  return encoder_->tokenizer().Decode(ids, special);
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

// --- Any thread ---

std::shared_ptr<EventStream> EngineImpl::Submit(Request request, EventStream::OnReady on_ready) {
  const Clock::time_point submitted = Clock::now();
  if (!request.deadline.has_value() && options_.max_request_time.count() > 0) {
    request.max_time = options_.max_request_time;
    request.deadline = submitted + request.max_time;
  }
  const auto* generate = std::get_if<GenerateParams>(&request.params);
  const size_t answers = generate != nullptr ? static_cast<size_t>(generate->samples) : 1;
  auto stream = std::make_shared<EventStream>(options_.events_per_stream * answers, std::move(on_ready));
  bool draining = false;
  {
    MutexLock lock(mutex_);
    ++unfinished_;
    draining = draining_;
  }
  if (draining) {
    telemetry_.rejections[Rejection::kDraining].Add();
    Refuse(*stream, absl::UnavailableError("the server is shutting down"));
    return stream;
  }
  if (waiting_.fetch_add(1) >= options_.max_queue) {
    waiting_.fetch_sub(1);
    telemetry_.rejections[Rejection::kQueueFull].Add();
    Refuse(*stream,
           OverloadError(absl::StrCat("the queue is full: ", options_.max_queue, " requests are waiting (--max-queue)"),
                         {.reason = "QUEUE_FULL",
                          .flag = "--max-queue",
                          .limit = absl::StrCat(options_.max_queue),
                          .retry_after = Stats().retry_after}));
    return stream;
  }
  auto record = registry_.Add(request, stream, submitted, Stats().retry_after);
  if (!record.ok()) {
    waiting_.fetch_sub(1);
    telemetry_.rejections[Rejection::kQuota].Add();
    Refuse(*stream, record.status());
    return stream;
  }
  stream->SetOnRoom([this] { Wake(); });
  text_pool_->Add([this, request = std::move(request), record = *std::move(record), stream, submitted]() mutable {
    absl::StatusOr<StatePtr> state = preparer_.Prepare(std::move(request), stream, submitted);
    // Moved out, so that the status belongs to nobody but the reader once it is pushed.
    const bool prepared = state.ok();
    absl::Status status = std::move(state).status();
    if (prepared) status = (*state)->Track(record, Stats().retry_after);
    record.reset();  // the state holds it, or nobody
    if (!status.ok()) {
      waiting_.fetch_sub(1);
      if (absl::IsDeadlineExceeded(status)) telemetry_.deadlines_expired[RequestStage::kQueue].Add();
      if (absl::IsResourceExhausted(status)) telemetry_.rejections[Rejection::kQuota].Add();
      Refuse(*stream, std::move(status));
      return;
    }
    (*state)->set_progress_interval(options_.progress_interval);
    (*state)->set_telemetry(telemetry_);
    (*state)->set_ready_streams(ready_);
    {
      MutexLock lock(mutex_);
      arrivals_.push_back(*std::move(state));
    }
    Wake();
  });
  return stream;
}

void EngineImpl::Refuse(EventStream& stream, absl::Status status) {
  stream.SetOnRoom(nullptr);
  stream.Push(Finished{.status = std::move(status), .refused = true});
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
  const Clock::time_point deadline = Clock::now() + timeout;
  MutexLock lock(mutex_);
  draining_ = true;
  while (unfinished_ > 0 && all_finished_.WaitUntil(mutex_, deadline)) {
  }
  if (unfinished_ == 0) return true;
  preparer_.GiveUp();
  cancel_all_ = attention_ = true;
  changed_.NotifyOne();
  while (unfinished_ > 0) all_finished_.Wait(mutex_);
  return false;
}

// --- The engine thread ---

void EngineImpl::Loop() {
  NameThisThread("engine");
  while (TakeArrivals()) {
    const Clock::time_point begin = Clock::now();
    DropEnded(begin);
    for (const auto& [key, state] : active_) {
      const bool has_room = state->stream().HasRoom();
      for (Group& group : state->groups()) group.paused = !has_room;
    }
    const Batch& batch = scheduler_.NextBatch(Seconds(Clock::now()));
    counter_.CountScheduling(scheduler_);
    const bool dropped = DropHopeless(Clock::now());
    int64_t running = 0;
    for (const auto& [key, state] : active_) {
      state->PublishProgress();
      if (state->was_scheduled()) ++running;
    }
    {
      MutexLock lock(mutex_);
      stats_.running = running;
      stats_.running_rows = scheduler_.running_rows();
      stats_.blocks_total = pool_.total();
      stats_.blocks_used = pool_.used();
      stats_.blocks_cached = pool_.idle_cached();
      // After a step the loop looks again at once.
      attention_ = attention_ || dropped || !batch.rows.empty();
    }
    TellReaders();
    if (!dropped && !batch.rows.empty()) RunStep(batch, begin);
  }
  TellReaders();
}

bool EngineImpl::TakeArrivals() {
  std::vector<StatePtr> arrivals;
  bool cancel_all = false, stopping = false;
  {
    const std::optional<Clock::time_point> deadline = NextDeadline();
    MutexLock lock(mutex_);
    while (!attention_) {
      if (!deadline.has_value()) {
        changed_.Wait(mutex_);
      } else if (!changed_.WaitUntil(mutex_, *deadline)) {
        break;
      }
    }
    attention_ = false;
    arrivals.swap(arrivals_);
    stopping = stopping_;
    cancel_all = cancel_all_ || stopping_;
  }
  for (StatePtr& state : arrivals) {
    Group& group = state->groups().front();
    state->EmitStarted(scheduler_.CachedTokens(group));
    Queue(group, *state);
    RequestState* const key = state.get();
    active_.emplace(key, std::move(state));
  }
  if (cancel_all) {
    for (auto& [key, state] : active_) state->stream().Cancel();
    DropEnded(Clock::now());
  }
  return !stopping;
}

void EngineImpl::DropEnded(Clock::time_point now) {
  std::vector<RequestState*> ended;
  for (auto& [key, state] : active_) {
    const RequestStage stage = state->was_scheduled() ? RequestStage::kRunning : RequestStage::kQueue;
    if (IsTooLate(*state, now)) {
      telemetry_.deadlines_expired[stage].Add();
      state->Finish(FinishReason::kDeadline, DeadlineError(state->request()), now);
      ended.push_back(key);
    } else if (state->stream().cancelled()) {
      state->Finish(FinishReason::kCancelled, absl::CancelledError("the request was cancelled"), now);
      ended.push_back(key);
    } else if (const auto stalls = StallsAt(*state); stalls.has_value() && *stalls <= now) {
      telemetry_.stream_stalls[stage].Add();
      state->Finish(
          FinishReason::kStalled,
          absl::AbortedError(absl::StrCat("the client took nothing for ", options_.stream_stall_timeout.count(),
                                          " ms (--stream-stall-timeout)")),
          now);
      ended.push_back(key);
    }
  }
  for (RequestState* state : ended) End(*state);
}

bool EngineImpl::DropHopeless(Clock::time_point now) {
  // The prompt's reading time is a lower bound; it must exceed what is left so many times.
  constexpr double kClearly = 4;
  std::vector<RequestState*> hopeless;
  for (Group* group : scheduler_.scheduled()) {
    RequestState& state = *owners_.at(group);
    // What is read now leaves out what the cache holds: before a request is scheduled that is not known.
    const std::optional<double> needed = rates_.SecondsToRead(group->Remaining());
    if (state.was_scheduled() || !state.request().deadline.has_value() || !needed.has_value()) continue;
    const double left = std::chrono::duration<double>(*state.request().deadline - now).count();
    if (*needed <= kClearly * left) continue;
    telemetry_.deadlines_expired[RequestStage::kQueue].Add();
    state.Finish(
        FinishReason::kDeadline,
        absl::DeadlineExceededError(absl::StrFormat(
            "the deadline leaves %.3f s, reading the prompt's %d tokens takes at least about %.3f s: not begun",
            std::max(left, 0.0), group->Remaining(), *needed)),
        now);
    hopeless.push_back(&state);
  }
  for (RequestState* state : hopeless) End(*state);
  return !hopeless.empty();
}

// A client that gives up at its deadline cancels, and does so up to a hundredth early: gRPC rounds a deadline up on its
// way here.
bool EngineImpl::IsTooLate(const RequestState& state, Clock::time_point now) const {
  const std::optional<Clock::time_point>& deadline = state.request().deadline;
  if (!deadline.has_value()) return false;
  const Clock::duration left = *deadline - now;
  return left <= Clock::duration(0) || (state.stream().cancelled() && left * 100 <= *deadline - state.submitted());
}

void EngineImpl::Queue(Group& group, RequestState& state) {
  scheduler_.Add(group, Seconds(Clock::now()));
  owners_.emplace(&group, &state);
}

void EngineImpl::End(RequestState& state) {
  TellReaders();  // its own may be among them
  for (Group& group : state.groups()) {
    if (owners_.erase(&group) > 0) scheduler_.Remove(group);
  }
  state.stream().SetOnRoom(nullptr);
  if (!state.was_scheduled()) waiting_.fetch_sub(1);
  active_.erase(&state);
  MutexLock lock(mutex_);
  if (--unfinished_ == 0) all_finished_.NotifyAll();
}

std::optional<Clock::time_point> EngineImpl::NextDeadline() const {
  std::optional<Clock::time_point> next;
  for (const auto& [key, state] : active_) {
    const std::optional<Clock::time_point>& deadline = state->request().deadline;
    for (const auto& end : {deadline, StallsAt(*state)}) {
      if (end.has_value() && (!next.has_value() || *end < *next)) next = end;
    }
  }
  return next;
}

std::optional<Clock::time_point> EngineImpl::StallsAt(const RequestState& state) const {
  if (options_.stream_stall_timeout.count() == 0) return std::nullopt;
  const std::optional<Clock::time_point> since = state.stream().FullSince();
  if (!since.has_value()) return std::nullopt;
  return *since + options_.stream_stall_timeout;
}

void EngineImpl::RunStep(const Batch& batch, Clock::time_point begin) {
  const Clock::time_point scheduled = Clock::now();
  stepped_.clear();
  for (Group* group : scheduler_.scheduled()) {
    RequestState& state = *owners_.at(group);
    stepped_.push_back(&state);
    if (!state.was_scheduled()) waiting_.fetch_sub(1);
    state.BeforeStep(*group, scheduled);
  }
  const Clock::time_point forward = Clock::now();
  absl::StatusOr<StepResult> result = [&]() -> absl::StatusOr<StepResult> {
    LH_ASSIGN_OR_RETURN(const Ticket ticket, runner_->Step(batch));
    return runner_->Collect(ticket);
  }();
  const Clock::time_point end = Clock::now();
  const double seconds = std::chrono::duration<double>(end - scheduled).count();
  int64_t decode_tokens = 0, prefill_tokens = 0;
  for (const BatchRow& row : batch.rows) (row.n_new == 1 ? decode_tokens : prefill_tokens) += row.n_new;
  rates_.AddStep(prefill_tokens, decode_tokens, seconds);
  {
    MutexLock lock(mutex_);
    ++stats_.steps;
    stats_.busy_seconds += seconds;
    stats_.decode_tokens += decode_tokens;
    stats_.prefill_tokens += prefill_tokens;
    tokens_per_second_ = rates_.tokens_per_second();
  }
  counter_.CountStep(scheduler_);
  const std::chrono::nanoseconds sampling = result.ok() ? result->sampling : std::chrono::nanoseconds(0);
  telemetry_.step_time[StepPhase::kSchedule].Observe(forward - begin);
  telemetry_.step_time[StepPhase::kForward].Observe(end - forward - sampling);
  telemetry_.step_time[StepPhase::kSample].Observe(sampling);
  if (!result.ok()) {
    LogError("a step failed: ", result.status().message());
    std::vector<RequestState*> failed;
    for (RequestState* state : stepped_) {
      if (state->finished()) continue;
      state->Finish(FinishReason::kError, absl::InternalError(result.status().message()), end);
      failed.push_back(state);
    }
    for (RequestState* state : failed) End(*state);
    return;
  }
  const std::chrono::nanoseconds cpu = ThreadCpuTime();
  DistributeResults(*std::move(result), seconds, end);
  telemetry_.emit_cpu.Add((ThreadCpuTime() - cpu).count());
  telemetry_.step_time[StepPhase::kEmit].Observe(Clock::now() - end);
}

void EngineImpl::DistributeResults(StepResult result, double step_seconds, Clock::time_point now) {
  const Batch& batch = scheduler_.batch();
  for (size_t g = 0; g < batch.groups.size(); ++g) stepped_[g]->PrefetchSelf(*scheduler_.scheduled()[g]);
  for (size_t g = 0; g < batch.groups.size(); ++g) {
    const SamplerResult* sampled = batch.groups[g].sampler != nullptr ? &result.groups[g] : nullptr;
    stepped_[g]->PrefetchReached(*scheduler_.scheduled()[g], sampled);
  }
  scheduler_.StepDone(step_seconds);
  size_t next_score = 0;
  std::vector<Group*> ended;
  std::vector<std::pair<Group*, RequestState*>> further;
  for (size_t g = 0; g < batch.groups.size(); ++g) {
    const BatchGroup& entry = batch.groups[g];
    Group& group = *scheduler_.scheduled()[g];
    size_t n_scores = 0;
    if (group.score_from > 0) {
      for (int r = entry.first_row; r < entry.first_row + entry.n_rows; ++r) {
        const BatchRow& row = batch.rows[static_cast<size_t>(r)];
        n_scores += static_cast<size_t>(row.n_new - row.first_logit);
      }
    }
    const std::span<TokenScore> scores(result.scores.data() + next_score, n_scores);
    next_score += n_scores;
    const SamplerResult* sampled = entry.sampler != nullptr ? &result.groups[g] : nullptr;
    RequestState& state = *stepped_[g];
    if (state.finished()) continue;
    if (state.AfterStep(group, sampled, result.choices[g], scores, now)) ended.push_back(&group);
    for (Group* made : state.MakeFurtherGroups()) further.emplace_back(made, &state);
  }
  TellReaders();
  // Only now: both change the scheduler's batch.
  for (const auto& [group, state] : further) Queue(*group, *state);
  for (Group* group : ended) {
    const auto owner = owners_.find(group);
    if (owner == owners_.end()) continue;  // it went with its request
    if (owner->second->finished()) {
      End(*owner->second);
    } else {
      owners_.erase(owner);
      scheduler_.Remove(*group);
    }
  }
}

void EngineImpl::TellReaders() {
  for (size_t i = 0; i < ready_.size(); ++i) ready_[i]->TellReader(/*more=*/i + 1 < ready_.size());
  ready_.clear();
}

}  // namespace

int64_t KvCacheBytes(const EngineOptions& options) {
  return options.kv_cache_bytes > 0 ? options.kv_cache_bytes : MemoryLimit() / 4;
}

absl::StatusOr<std::unique_ptr<Engine>> Engine::Create(const EngineOptions& options, const StopCondition& stopped) {
  LH_ASSIGN_OR_RETURN(const ModelFile model, LoadModelFile(options.model_path));
  LH_ASSIGN_OR_RETURN(Vocabulary vocabulary, ReadVocabulary(*model.gguf));
  auto encoder = PromptEncoder::Create(std::move(vocabulary), options.chat_template);
  if (!encoder.ok()) {
    return absl::Status(encoder.status().code(), absl::StrCat(options.model_path, ": ", encoder.status().message()));
  }
  LH_ASSIGN_OR_RETURN(
      PositionResolver positions,
      PositionResolver::Create(model.config.rotation, options.default_position, options.trained_length));
  ModelRunnerOptions runner_options;
  runner_options.compute_type = options.compute_type;
  runner_options.cache_type = options.cache_type;
  runner_options.threads = options.threads;
  runner_options.kv_cache_bytes = KvCacheBytes(options);
  runner_options.limits.max_tokens = options.max_batch_tokens;
  EngineOptions resolved = options;
  LH_ASSIGN_OR_RETURN(resolved.max_rows, ResolveMaxRows(options, runner_options.limits));
  LH_ASSIGN_OR_RETURN(auto runner, ModelRunner::Create(model, runner_options, stopped));
  ModelInfo info = DescribeModel(model, **encoder, *runner, positions);
  return std::make_unique<EngineImpl>(resolved, std::move(info), *std::move(encoder), std::move(runner),
                                      std::move(positions));
}

}  // namespace longhaul
