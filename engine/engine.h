#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/backend/types.h"
#include "engine/base/stop_condition.h"
#include "engine/base/time_source.h"
#include "engine/model/runner.h"
#include "engine/model_info.h"
#include "engine/position/position_resolver.h"
#include "engine/prepare/prompt_encoder.h"
#include "engine/request/event_stream.h"
#include "engine/request/request.h"
#include "engine/request/request_info.h"
#include "engine/telemetry/telemetry.h"

namespace longhaul {

// What an engine is created with.
struct EngineOptions {
  std::string model_path;
  ComputeType compute_type = ComputeType::kAuto;
  CacheType cache_type = CacheType::kAuto;
  int threads = 0;                                // 0: one per core
  int64_t kv_cache_bytes = 0;                     // 0: a quarter of MemoryLimit
  int64_t max_queue = 256;                        // requests that may wait; more are refused
  int64_t max_request_tokens = 0;                 // prompt and answer together; 0 = no bound of its own
  int64_t max_client_requests = 0;                // of one client at a time, that wait or run; 0: no limit
  int64_t max_client_queued_tokens = 0;           // row-tokens of one client's requests that wait; 0: no limit
  std::chrono::milliseconds max_request_time{0};  // the deadline of a request that has none; 0: none
  int64_t max_batch_tokens = 512;                 // of one step
  int64_t max_rows = 0;  // that run at a time; 0: 257, or fewer where a step holds fewer tokens or logit rows
  // The time that a step with decode should take at most, prefill included; 0: the larger of 20 ms and twice the
  // predicted time of its decode. A step without decode may take five times as long.
  std::chrono::milliseconds step_target{0};
  // How long the first of the queue may not fit before free blocks are kept for it.
  std::chrono::milliseconds reserve_after{5000};
  bool one_step_ahead = false;  // for tests: see RunnerInfo
  bool prefix_cache = true;     // reuse the blocks of prefixes that were computed before
  size_t events_per_stream = 64;
  // Drop a stream whose reader consumes nothing for this long; 0: never.
  std::chrono::milliseconds stream_stall_timeout{60000};
  std::chrono::milliseconds progress_interval{500};   // minimum time between two Progress of a request
  std::string chat_template;                          // "chatml" or "llama3"; empty: recognised from the file
  PositionMode default_position = DefaultLongMode();  // what Auto becomes past the trained length
  int64_t trained_length = 0;                         // instead of the file's; 0: the file's
};

// The size of the KV cache in bytes by these options.
int64_t KvCacheBytes(const EngineOptions& options);

// The parts of an engine, for those who make them themselves: an embedding program, a test.
struct EngineParts {
  ModelInfo info;
  std::unique_ptr<PromptEncoder> encoder;
  std::unique_ptr<Runner> runner;
  std::unique_ptr<PositionResolver> positions;
  const TimeSource* time = &SteadyTime();  // not owned; outlives the engine
};

// What holds at this moment.
struct EngineStats {
  int64_t running = 0, waiting = 0;  // requests
  int64_t running_rows = 0;
  int64_t waiting_tokens = 0;                 // row-tokens of the requests that wait
  double retry_after = 1;                     // seconds after which a request that is refused now should try again
  int64_t blocks_total = 0, blocks_used = 0;  // used: held by a row
  int64_t blocks_cached = 0;                  // not used, but cached for whoever asks for their prefix again
  int64_t steps = 0, prefill_tokens = 0, decode_tokens = 0;
};

// A model that answers requests. Thread-safe.
class Engine {
 public:
  // Loads the model and starts the engine thread; the file is not read afterwards. An error names the file, key or
  // tensor; CANCELLED soon after `stopped` holds.
  static absl::StatusOr<std::unique_ptr<Engine>> Create(const EngineOptions& options,
                                                        const StopCondition& stopped = {});

  // Starts an engine on given parts; options that load a model are ignored. INVALID_ARGUMENT names an option that does
  // not fit the limits of the runner.
  static absl::StatusOr<std::unique_ptr<Engine>> Create(const EngineOptions& options, EngineParts parts);

  // Ends all requests with UNAVAILABLE and joins the threads.
  virtual ~Engine() = default;

  // Returns at once. Everything that happens arrives as an event, also a refusal: INVALID_ARGUMENT naming the field, an
  // Overload when the queue is full or its client has too much in it, UNAVAILABLE while draining and once the
  // device is lost. Finished is always
  // the last event. `on_ready`: see EventStream.
  virtual std::shared_ptr<EventStream> Submit(Request request, EventStream::OnReady on_ready) = 0;

  // EventStream::Cancel, and wakes the engine to see it.
  virtual void Cancel(EventStream& stream) = 0;

  // The requests that have not finished, in the order of their arrival, as of the last step. Waits for no step.
  virtual std::vector<RequestInfo> ListRequests() const = 0;

  // Cancels all requests with this id; returns how many were not cancelled before.
  virtual int64_t CancelRequest(const std::string& id) = 0;

  // Refuses new requests and work from now on, and waits until all requests have finished. Those that have not at
  // `timeout` end with UNAVAILABLE. Returns whether all finished by themselves.
  virtual bool Drain(std::chrono::milliseconds timeout) = 0;

  // Runs `work` on the text pool, the few threads that tokenize. UNAVAILABLE while draining; then nothing is run.
  virtual absl::Status RunOnTextPool(std::function<void()> work) = 0;

  // The ids of a prompt as Generate would read it; a chat ends with the opening of the assistant's turn.
  // INVALID_ARGUMENT names the field. May take long: call it on the text pool; CANCELLED soon after `stopped` holds,
  // UNAVAILABLE when a drain's time is over.
  virtual absl::StatusOr<std::vector<TokenId>> Tokenize(const Prompt& prompt, bool parse_special,
                                                        const StopCondition& stopped = {}) const = 0;

  // The bytes of ids; INVALID_ARGUMENT when one is outside the vocabulary, or all come to more than `max_bytes`.
  // Special tokens are written out if asked for. UNAVAILABLE as Tokenize.
  virtual absl::StatusOr<std::string> Detokenize(std::span<const TokenId> ids, bool special,
                                                 size_t max_bytes) const = 0;

  // The bytes of one token; owned by the engine. REQUIRES: 0 <= id < vocabulary_size.
  virtual std::string_view TokenBytes(TokenId id) const = 0;

  // The plan of a mode for a text of `length` tokens; see PositionResolver.
  virtual absl::StatusOr<ResolvedPosition> ResolvePosition(const PositionMode& mode, int64_t length) const = 0;

  virtual const ModelInfo& model() const = 0;
  virtual EngineStats Stats() const = 0;

  // The counters; whoever refuses a request before Submit adds to them, too.
  virtual Telemetry& telemetry() = 0;
};

}  // namespace longhaul
