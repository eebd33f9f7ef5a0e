#include "engine/engine.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <optional>
#include <random>
#include <thread>
#include <unordered_map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/instruction_set.h"
#include "engine/base/log.h"
#include "engine/base/mutex.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/base/work_queue.h"
#include "engine/cache/block_pool.h"
#include "engine/model/model_file.h"
#include "engine/model/model_runner.h"
#include "engine/prompt_encoder.h"
#include "engine/request_state.h"
#include "engine/scheduling/scheduler.h"

namespace longhaul {
namespace {

constexpr int64_t kDefaultMaxTokens = 256;
constexpr size_t kTextThreads = 2;

uint64_t DrawSeed() {
  static thread_local std::mt19937_64 generator{std::random_device{}()};
  return generator();
}

int64_t QuarterOfMemory() {
  return static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<int64_t>(sysconf(_SC_PAGE_SIZE)) / 4;
}

std::string BestInstructions() {
  std::string name(InstructionSetName(ActiveInstructionSet()));
  if (ActiveHasVnni()) name += "+vnni";
  if (ActiveHasBf16()) name += "+bf16";
  return name;
}

// The longest row whose blocks and near ring fit into `n_blocks`.
int64_t MostTokensInBlocks(int64_t n_blocks, const RotaryPlan& plan) {
  int64_t fits = 0, too_many = n_blocks + 1;
  while (too_many - fits > 1) {
    const int64_t blocks = (fits + too_many) / 2;
    const int64_t with_ring = blocks + RingBlocks(plan, blocks * kBlockTokens);
    (with_ring <= n_blocks ? fits : too_many) = blocks;
  }
  return fits * kBlockTokens;
}

void DescribePosition(const ResolvedPosition& position, Started& started) {
  started.position = position.mode;
  started.reach = position.plan.reach.value_or(0);
  started.past_recommended = position.past_recommended;
  started.refit = position.refit;
}

// The engine over a model runner: one thread owns scheduler, cache and model; callers hand requests over by a queue.
class EngineImpl : public Engine {
 public:
  EngineImpl(const EngineOptions& options, ModelFile model, std::unique_ptr<PromptEncoder> encoder,
             std::unique_ptr<ModelRunner> runner, PositionResolver positions);
  ~EngineImpl() override;

  std::shared_ptr<EventStream> Submit(Request request, std::function<void()> on_ready) override;
  void Cancel(EventStream& stream) override;
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

 private:
  using StatePtr = std::unique_ptr<RequestState>;

  // On the text pool: everything that can refuse a request but the room for it.
  absl::StatusOr<StatePtr> Prepare(Request request, std::shared_ptr<EventStream> stream, Clock::time_point submitted);
  absl::StatusOr<StatePtr> PrepareGenerate(Request request, std::shared_ptr<EventStream> stream,
                                           Clock::time_point submitted);
  absl::StatusOr<StatePtr> PrepareScore(Request request, std::shared_ptr<EventStream> stream,
                                        Clock::time_point submitted);
  // The ids of its prompt, which it no longer holds then.
  absl::StatusOr<std::vector<TokenId>> TakePrompt(Request& request, const EventStream& stream) const;
  // CANCELLED or DEADLINE_EXCEEDED once nobody waits for it.
  absl::Status CheckWanted(const Request& request, const EventStream& stream) const;
  // The number of tokens that a request can hold at most, and why.
  struct Room {
    int64_t tokens;
    std::string limit;
  };
  Room MostTokens(const ResolvedPosition& position) const;
  Room MostTokensInAnyMode() const;
  void Refuse(EventStream& stream, absl::Status status);
  void Wake();

  // The engine thread.
  void Loop();
  bool TakeArrivals();  // false when the engine stops
  void DropEnded(Clock::time_point now);
  // When its reader has taken nothing for too long; none while there is room for more.
  std::optional<Clock::time_point> StallsAt(const RequestState& state) const;
  void RunStep(const Batch& batch);
  void DistributeResults(StepResult result, Clock::time_point now);
  void End(Group& group);
  std::optional<Clock::time_point> NextDeadline() const;

  const EngineOptions options_;
  const ModelFile model_;
  const std::unique_ptr<PromptEncoder> encoder_;
  const std::unique_ptr<ModelRunner> runner_;
  const PositionResolver positions_;
  ModelInfo info_;

  // The engine thread's own.
  BlockPool pool_;
  Scheduler scheduler_;
  std::unordered_map<Group*, StatePtr> active_;

  std::atomic<int64_t> waiting_{0};    // submitted and not scheduled for the first time
  std::atomic<bool> gives_up_{false};  // no prompt needs to be tokenized to its end any more
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

  std::unique_ptr<WorkQueue> text_pool_;
  std::thread thread_;
};

ModelInfo DescribeModel(const ModelFile& model, const PromptEncoder& encoder, const ModelRunner& runner,
                        const PositionResolver& positions) {
  ModelInfo info;
  const ModelConfig& config = model.config;
  info.name = config.name;
  info.architecture = config.architecture;
  info.path = model.gguf->path();
  info.parameters = model.parameters;
  info.file_bytes = model.gguf->file_bytes();
  std::map<std::string_view, int64_t> elements;
  for (const GgufTensor& tensor : model.gguf->tensors()) elements[Info(tensor.type).name] += tensor.elements;
  const auto most = std::max_element(elements.begin(), elements.end(),
                                     [](const auto& a, const auto& b) { return a.second < b.second; });
  if (most != elements.end()) info.file_type = most->first;
  info.vocabulary_size = config.vocabulary_size;
  info.trained_length = positions.trained_length();
  info.n_layers = config.n_layers;
  info.n_heads = config.n_heads;
  info.n_kv_heads = config.n_kv_heads;
  info.head_dim = config.head_dim;
  info.width = config.width;
  const Vocabulary& vocabulary = encoder.tokenizer().vocabulary();
  info.pre_tokenizer = vocabulary.pre_tokenizer;
  info.chat_template = Name(encoder.chat_family());
  info.bos = vocabulary.bos.value_or(-1);
  info.eos = vocabulary.eos.value_or(-1);
  info.end_tokens = encoder.tokenizer().end_tokens();
  info.compute_type = Name(runner.info().compute_type);
  info.cache_type = Name(runner.info().cache_type);
  info.instruction_set = BestInstructions();
  info.backend = runner.info().name;
  info.version = LONGHAUL_VERSION;
  info.threads = runner.threads();
  info.cache_tokens = runner.n_blocks() * kBlockTokens;
  info.engine_fingerprint = absl::StrCat("sha256:", model.fingerprint, "/", info.compute_type, "/", info.cache_type,
                                         "/", info.instruction_set, "/", info.version);
  return info;
}

EngineImpl::EngineImpl(const EngineOptions& options, ModelFile model, std::unique_ptr<PromptEncoder> encoder,
                       std::unique_ptr<ModelRunner> runner, PositionResolver positions)
    : options_(options),
      model_(std::move(model)),
      encoder_(std::move(encoder)),
      runner_(std::move(runner)),
      positions_(std::move(positions)),
      info_(DescribeModel(model_, *encoder_, *runner_, positions_)),
      pool_(runner_->n_blocks()),
      scheduler_({.max_tokens = runner_->limits().max_tokens,
                  .max_logit_rows = runner_->limits().max_logit_rows,
                  .max_rows = std::min(runner_->limits().max_tokens, runner_->limits().max_logit_rows) / 2},
                 pool_),
      text_pool_(std::make_unique<WorkQueue>(kTextThreads)),
      thread_([this] { Loop(); }) {}

EngineImpl::~EngineImpl() {
  {
    MutexLock lock(mutex_);
    draining_ = true;
  }
  gives_up_ = true;
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
  MutexLock lock(mutex_);
  EngineStats stats = stats_;
  stats.waiting = waiting_.load();
  return stats;
}

// --- Any thread ---

std::shared_ptr<EventStream> EngineImpl::Submit(Request request, std::function<void()> on_ready) {
  const Clock::time_point submitted = Clock::now();
  auto stream = std::make_shared<EventStream>(options_.events_per_stream, std::move(on_ready));
  bool draining = false;
  {
    MutexLock lock(mutex_);
    ++unfinished_;
    draining = draining_;
  }
  if (draining) {
    Refuse(*stream, absl::UnavailableError("the server is shutting down"));
    return stream;
  }
  if (waiting_.fetch_add(1) >= options_.max_queue) {
    waiting_.fetch_sub(1);
    Refuse(*stream, absl::ResourceExhaustedError(absl::StrCat("the queue is full: ", options_.max_queue,
                                                              " requests are waiting (--max-queue); try again later")));
    return stream;
  }
  stream->SetOnRoom([this] { Wake(); });
  text_pool_->Add([this, request = std::move(request), stream, submitted]() mutable {
    absl::StatusOr<StatePtr> state = Prepare(std::move(request), stream, submitted);
    if (!state.ok()) {
      waiting_.fetch_sub(1);
      Refuse(*stream, state.status());
      return;
    }
    (*state)->set_progress_interval(options_.progress_interval);
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

bool EngineImpl::Drain(std::chrono::milliseconds timeout) {
  const Clock::time_point deadline = Clock::now() + timeout;
  MutexLock lock(mutex_);
  draining_ = true;
  while (unfinished_ > 0 && all_finished_.WaitUntil(mutex_, deadline)) {
  }
  if (unfinished_ == 0) return true;
  gives_up_ = true;
  cancel_all_ = attention_ = true;
  changed_.NotifyOne();
  while (unfinished_ > 0) all_finished_.Wait(mutex_);
  return false;
}

// --- The text pool ---

EngineImpl::Room EngineImpl::MostTokens(const ResolvedPosition& position) const {
  Room room{INT64_MAX, ""};
  if (!position.mode.allow_beyond_reach && position.plan.reach.has_value()) {
    room = {*position.plan.reach,
            absl::StrCat("what position mode ", Name(position.mode), " reaches here (trained for ",
                         position.mode.trained_length, " tokens)")};
  }
  const int64_t cached = MostTokensInBlocks(runner_->n_blocks(), position.plan);
  if (cached < room.tokens) room = {cached, "what the KV cache holds (--kv-cache-memory)"};
  if (options_.max_request_tokens > 0 && options_.max_request_tokens < room.tokens) {
    room = {options_.max_request_tokens, "the server's bound (--max-request-tokens)"};
  }
  return room;
}

EngineImpl::Room EngineImpl::MostTokensInAnyMode() const {
  if (options_.max_request_tokens > 0 && options_.max_request_tokens < info_.cache_tokens) {
    return {options_.max_request_tokens, "the server's bound (--max-request-tokens)"};
  }
  return {info_.cache_tokens, "what the KV cache holds (--kv-cache-memory)"};
}

absl::Status EngineImpl::CheckWanted(const Request& request, const EventStream& stream) const {
  if (request.deadline.has_value() && *request.deadline <= Clock::now()) {
    return absl::DeadlineExceededError("the request's deadline has passed");
  }
  if (stream.cancelled() || gives_up_) return absl::CancelledError("the request was cancelled");
  return absl::OkStatus();
}

absl::StatusOr<std::vector<TokenId>> EngineImpl::TakePrompt(Request& request, const EventStream& stream) const {
  Prompt& prompt = std::visit([](auto& params) -> Prompt& { return params.prompt; }, request.params);
  const Room room = MostTokensInAnyMode();
  LH_RETURN_IF_ERROR(encoder_->CheckLength(prompt, room.tokens, room.limit));
  auto ids = encoder_->Encode(prompt, /*parse_special=*/false, [&] { return !CheckWanted(request, stream).ok(); });
  LH_RETURN_IF_ERROR(CheckWanted(request, stream));
  prompt = Prompt();
  return ids;
}

absl::StatusOr<EngineImpl::StatePtr> EngineImpl::Prepare(Request request, std::shared_ptr<EventStream> stream,
                                                         Clock::time_point submitted) {
  LH_RETURN_IF_ERROR(CheckWanted(request, *stream));
  if (std::holds_alternative<ScoreParams>(request.params)) {
    return PrepareScore(std::move(request), std::move(stream), submitted);
  }
  return PrepareGenerate(std::move(request), std::move(stream), submitted);
}

absl::StatusOr<EngineImpl::StatePtr> EngineImpl::PrepareGenerate(Request request, std::shared_ptr<EventStream> stream,
                                                                 Clock::time_point submitted) {
  const auto& params = std::get<GenerateParams>(request.params);
  for (size_t i = 0; i < params.stopping.stop_token_ids.size(); ++i) {
    LH_RETURN_IF_ERROR(
        encoder_->CheckId(absl::StrCat("stopping.stop_token_ids[", i, "]"), params.stopping.stop_token_ids[i]));
  }
  for (const auto& [id, bias] : params.sampling.logit_bias) {
    LH_RETURN_IF_ERROR(encoder_->CheckId("sampling.logit_bias", id));
  }
  LH_ASSIGN_OR_RETURN(std::vector<TokenId> prompt, TakePrompt(request, *stream));
  const int64_t prompt_tokens = static_cast<int64_t>(prompt.size());
  const int64_t wanted_tokens =
      params.stopping.max_tokens.value_or(std::max(kDefaultMaxTokens, params.stopping.min_tokens));
  LH_ASSIGN_OR_RETURN(ResolvedPosition position, positions_.Resolve(params.position, prompt_tokens + wanted_tokens));
  const Room room = MostTokens(position);
  const int64_t max_tokens =
      params.stopping.max_tokens.value_or(std::clamp<int64_t>(room.tokens - prompt_tokens, 1, wanted_tokens));
  if (max_tokens > room.tokens - prompt_tokens) {
    return absl::InvalidArgumentError(absl::StrCat("stopping.max_tokens: the prompt's ", prompt_tokens, " tokens and ",
                                                   max_tokens, " of the answer exceed ", room.tokens, ", ",
                                                   room.limit));
  }
  if (params.stopping.min_tokens > max_tokens) {
    return absl::InvalidArgumentError(absl::StrCat(
        "stopping.min_tokens: ", params.stopping.min_tokens, " is more than the ", max_tokens,
        " tokens that the answer may have; the prompt has ", prompt_tokens, ", and ", room.tokens, " is ", room.limit));
  }
  Started started;
  started.prompt_tokens = prompt_tokens;
  started.max_tokens = max_tokens;
  DescribePosition(position, started);
  started.seed = params.seed.has_value() ? *params.seed : DrawSeed();
  started.engine_fingerprint = info_.engine_fingerprint;
  return std::make_unique<GenerateState>(std::move(request), std::move(stream), submitted, std::move(started),
                                         std::move(prompt), std::move(position.plan), encoder_->tokenizer(), pool_);
}

absl::StatusOr<EngineImpl::StatePtr> EngineImpl::PrepareScore(Request request, std::shared_ptr<EventStream> stream,
                                                              Clock::time_point submitted) {
  const auto& params = std::get<ScoreParams>(request.params);
  LH_ASSIGN_OR_RETURN(std::vector<TokenId> text, TakePrompt(request, *stream));
  const int64_t n = static_cast<int64_t>(text.size());
  if (n < 2) {
    return absl::InvalidArgumentError(
        absl::StrCat("prompt: the text has ", n, " token; a score needs at least 2, because the first has no context"));
  }
  LH_ASSIGN_OR_RETURN(ResolvedPosition position, positions_.Resolve(params.position, n));
  const Room room = MostTokens(position);
  if (n > room.tokens) {
    return absl::InvalidArgumentError(
        absl::StrCat("prompt: the text's ", n, " tokens exceed ", room.tokens, ", ", room.limit));
  }
  if (params.from_token >= n) {
    return absl::InvalidArgumentError(
        absl::StrCat("from_token: ", params.from_token, " is past the text's last token, ", n - 1));
  }
  if (params.last_tokens >= n) {
    return absl::InvalidArgumentError(absl::StrCat("last_tokens: ", params.last_tokens, " of a text of ", n,
                                                   " tokens; at most ", n - 1, " have a context"));
  }
  const int64_t first_token = params.last_tokens > 0 ? n - params.last_tokens : std::max<int64_t>(params.from_token, 1);
  Started started;
  started.prompt_tokens = n;
  DescribePosition(position, started);
  started.engine_fingerprint = info_.engine_fingerprint;
  return std::make_unique<ScoreState>(std::move(request), std::move(stream), submitted, std::move(started),
                                      std::move(text), first_token, std::move(position.plan), pool_);
}

// --- The engine thread ---

void EngineImpl::Loop() {
  while (TakeArrivals()) {
    DropEnded(Clock::now());
    for (auto& [group, state] : active_) group->paused = !state->stream().HasRoom();
    const Batch& batch = scheduler_.NextBatch();
    {
      MutexLock lock(mutex_);
      stats_.running = scheduler_.running();
      stats_.blocks_total = pool_.total();
      stats_.blocks_used = pool_.used();
      // After a step the loop looks again at once.
      attention_ = attention_ || !batch.rows.empty();
    }
    if (!batch.rows.empty()) RunStep(batch);
  }
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
    Group& group = state->group();
    state->EmitStarted();
    scheduler_.Add(group);
    active_.emplace(&group, std::move(state));
  }
  if (cancel_all) {
    for (auto& [group, state] : active_) state->stream().Cancel();
    DropEnded(Clock::now());
  }
  return !stopping;
}

void EngineImpl::DropEnded(Clock::time_point now) {
  std::vector<Group*> ended;
  for (auto& [group, state] : active_) {
    const std::optional<Clock::time_point>& deadline = state->request().deadline;
    if (state->stream().cancelled()) {
      state->Finish(FinishReason::kCancelled, absl::CancelledError("the request was cancelled"), now);
      ended.push_back(group);
    } else if (deadline.has_value() && *deadline <= now) {
      state->Finish(FinishReason::kDeadline, absl::DeadlineExceededError("the request's deadline has passed"), now);
      ended.push_back(group);
    } else if (const auto stalls = StallsAt(*state); stalls.has_value() && *stalls <= now) {
      state->Finish(
          FinishReason::kStalled,
          absl::AbortedError(absl::StrCat("the client took nothing for ", options_.stream_stall_timeout.count(),
                                          " ms (--stream-stall-timeout)")),
          now);
      ended.push_back(group);
    }
  }
  for (Group* group : ended) End(*group);
}

void EngineImpl::End(Group& group) {
  scheduler_.Remove(group);
  const auto found = active_.find(&group);
  found->second->stream().SetOnRoom(nullptr);
  if (!found->second->was_scheduled()) waiting_.fetch_sub(1);
  active_.erase(found);
  MutexLock lock(mutex_);
  if (--unfinished_ == 0) all_finished_.NotifyAll();
}

std::optional<Clock::time_point> EngineImpl::NextDeadline() const {
  std::optional<Clock::time_point> next;
  for (const auto& [group, state] : active_) {
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

void EngineImpl::RunStep(const Batch& batch) {
  const Clock::time_point begin = Clock::now();
  for (Group* group : scheduler_.scheduled()) {
    RequestState& state = *active_.at(group);
    if (!state.was_scheduled()) waiting_.fetch_sub(1);
    state.BeforeStep(begin);
  }
  absl::StatusOr<StepResult> result = [&]() -> absl::StatusOr<StepResult> {
    LH_ASSIGN_OR_RETURN(const Ticket ticket, runner_->Step(batch));
    return runner_->Collect(ticket);
  }();
  const Clock::time_point end = Clock::now();
  {
    MutexLock lock(mutex_);
    ++stats_.steps;
    stats_.busy_seconds += std::chrono::duration<double>(end - begin).count();
    for (const BatchRow& row : batch.rows) {
      (row.n_new == 1 ? stats_.decode_tokens : stats_.prefill_tokens) += row.n_new;
    }
  }
  if (!result.ok()) {
    LogError("a step failed: ", result.status().message());
    const std::vector<Group*> failed = scheduler_.scheduled();
    for (Group* group : failed) {
      active_.at(group)->Finish(FinishReason::kError, absl::InternalError(result.status().message()), end);
      End(*group);
    }
    return;
  }
  DistributeResults(*std::move(result), end);
}

void EngineImpl::DistributeResults(StepResult result, Clock::time_point now) {
  scheduler_.StepDone();
  const Batch& batch = scheduler_.batch();
  size_t next_score = 0;
  std::vector<Group*> ended;
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
    if (active_.at(&group)->AfterStep(sampled, scores, now)) ended.push_back(&group);
  }
  for (Group* group : ended) End(*group);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Engine>> Engine::Create(const EngineOptions& options) {
  LH_ASSIGN_OR_RETURN(ModelFile model, LoadModelFile(options.model_path));
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
  runner_options.kv_cache_bytes = options.kv_cache_bytes > 0 ? options.kv_cache_bytes : QuarterOfMemory();
  runner_options.limits.max_tokens = options.max_batch_tokens;
  LH_ASSIGN_OR_RETURN(auto runner, ModelRunner::Create(model, runner_options));
  return std::make_unique<EngineImpl>(options, std::move(model), *std::move(encoder), std::move(runner),
                                      std::move(positions));
}

}  // namespace longhaul
