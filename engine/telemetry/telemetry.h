#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <utility>
#include <variant>

#include "engine/base/counter.h"
#include "engine/base/histogram.h"
#include "engine/position/position_mode.h"
#include "engine/request/request.h"

// Counters and histograms of what the engine has done since it started. Atomic numbers: any thread adds and reads at
// any time, without waiting. What holds at this moment (running, waiting, blocks) is in EngineStats.
namespace longhaul {

// Upper bounds of buckets; times in nanoseconds.
std::span<const int64_t> LongTimeBuckets();   // 5 ms to 2 hours: whole requests and their parts
std::span<const int64_t> ShortTimeBuckets();  // 0.5 ms to 80 s: between tokens, and steps
std::span<const int64_t> TokenBuckets();      // powers of 2 from 16 to 4 Mi
std::span<const int64_t> RowBuckets();        // powers of 2 from 1 to 512

// The label values that metrics are split by. Each set is fixed: no value is chosen freely by a client.
enum class RequestMethod { kGenerate, kScore };
inline constexpr std::array kRequestMethodNames = {"Generate", "Score"};

enum class DecodingKind { kPlain, kNbce };
inline constexpr std::array kDecodingKindNames = {"plain", "nbce"};

// Why a request was refused before its first step.
enum class Rejection {
  kQueueFull,
  kTooLong,   // for the position mode's reach or --max-request-tokens
  kNoBlocks,  // the KV cache could never hold it
  kQuota,     // of one client
  kDraining,
  kNoMemory,
};
inline constexpr std::array kRejectionNames = {"queue_full", "too_long", "no_blocks", "quota", "draining", "no_memory"};

// The stage of a request at an event: before its first step, or after.
enum class RequestStage { kQueue, kRunning };
inline constexpr std::array kRequestStageNames = {"queue", "running"};

enum class TokenSource { kComputed, kCached };
inline constexpr std::array kTokenSourceNames = {"computed", "cached"};

enum class StepPhase { kSchedule, kForward, kSample, kEmit };
inline constexpr std::array kStepPhaseNames = {"schedule", "forward", "sample", "emit"};

enum class StepKind { kPrefill, kDecode };
inline constexpr std::array kStepKindNames = {"prefill", "decode"};

// Named by Name(FinishReason).
inline constexpr size_t kFinishReasons = static_cast<size_t>(FinishReason::kUnavailable) + 1;

// Position modes by their index in PositionMode::kind. The first, Auto, is never what a request resolves to.
inline constexpr size_t kPositionModes = std::variant_size_v<decltype(PositionMode::kind)>;
inline constexpr size_t kFirstResolvedMode = 1;
static_assert(std::is_same_v<std::variant_alternative_t<0, decltype(PositionMode::kind)>, position::Auto>);

// A counter for each value of an enumeration.
template <typename Enum, size_t kSize>
class CountersBy {
 public:
  Counter& operator[](Enum key) { return counters_[static_cast<size_t>(key)]; }
  const Counter& operator[](Enum key) const { return counters_[static_cast<size_t>(key)]; }

 private:
  std::array<Counter, kSize> counters_;
};

template <typename Enum, size_t kSize>
class HistogramsBy {
 public:
  explicit HistogramsBy(std::span<const int64_t> bounds) : HistogramsBy(bounds, std::make_index_sequence<kSize>()) {}

  Histogram& operator[](Enum key) { return histograms_[static_cast<size_t>(key)]; }
  const Histogram& operator[](Enum key) const { return histograms_[static_cast<size_t>(key)]; }

 private:
  template <size_t... kIndex>
  HistogramsBy(std::span<const int64_t> bounds, std::index_sequence<kIndex...>)
      : histograms_{((void)kIndex, Histogram(bounds))...} {}

  std::array<Histogram, kSize> histograms_;
};

// Metrics of the requests of one position mode and one way of decoding.
struct RequestTelemetry {
  Histogram time_to_first_token{LongTimeBuckets()};
  Histogram inter_token_latency{ShortTimeBuckets()};
  Histogram time_per_output_token{ShortTimeBuckets()};
  Histogram queue_time{LongTimeBuckets()}, prefill_time{LongTimeBuckets()}, decode_time{LongTimeBuckets()};
  HistogramsBy<FinishReason, kFinishReasons> duration{LongTimeBuckets()};
  Histogram prompt_tokens{TokenBuckets()}, generation_tokens{TokenBuckets()};
  std::array<CountersBy<FinishReason, kFinishReasons>, kRequestMethodNames.size()> finished;  // by RequestMethod
  Counter generated;  // tokens, also of requests that still run
  Counter refits;     // Auto or a fit chose another plan than the plain one

  // A request with `n_answers` answers that had been accepted has ended, `total` after it was submitted and
  // `since_first_token` after its first token.
  void OnFinished(RequestMethod method, const Finished& finished, std::chrono::nanoseconds total,
                  std::chrono::nanoseconds since_first_token, int64_t n_answers);
};

struct Telemetry {
  // The metrics of a resolved mode. REQUIRES: not Auto.
  RequestTelemetry& Of(const PositionMode& resolved, DecodingKind decoding) {
    return requests[resolved.kind.index()][static_cast<size_t>(decoding)];
  }

  std::array<std::array<RequestTelemetry, kDecodingKindNames.size()>, kPositionModes> requests;
  CountersBy<Rejection, kRejectionNames.size()> rejections;
  CountersBy<RequestStage, kRequestStageNames.size()> deadlines_expired, stream_stalls;
  CountersBy<TokenSource, kTokenSourceNames.size()> prompt_tokens;

  // One observation a step; none of a kind of which the step has no rows.
  HistogramsBy<StepPhase, kStepPhaseNames.size()> step_time{ShortTimeBuckets()};
  HistogramsBy<StepKind, kStepKindNames.size()> step_tokens{TokenBuckets()}, step_rows{RowBuckets()};
  Counter emit_cpu;  // CPU time of kEmit in nanoseconds; less than its wall time where the thread was preempted
  std::atomic<int64_t> last_step{0};  // when it ended, nanoseconds since 1970; 0: none yet

  // The prefix cache and preemption.
  Counter prefix_cache_queries, prefix_cache_hits;  // prompt tokens: looked up, found
  Counter prefix_cache_evictions;                   // blocks
  Counter preemptions;                              // groups

  // Of NBCE.
  Histogram contexts{RowBuckets()};  // documents or windows of a request
  Counter context_switches;          // the chosen document changed between two tokens
  Counter nbce_fallbacks;            // tokens drawn from a fallback source: MergeChoice::fell_back
};

}  // namespace longhaul
