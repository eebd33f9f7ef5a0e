#include "server/metrics/engine_metrics.h"

#include <functional>

namespace longhaul {
namespace {

using prometheus::MetricType;

// A histogram that exists for every position mode and kind of decoding.
struct OfRequests {
  const char* name;
  const char* help;
  Histogram RequestTelemetry::*histogram;
  double divisor;
};

constexpr OfRequests kOfRequests[] = {
    {"longhaul_time_to_first_token_seconds", "From a request's admission until its first token.",
     &RequestTelemetry::time_to_first_token, kNanosecondsPerSecond},
    {"longhaul_inter_token_latency_seconds", "Between two tokens of one stream.",
     &RequestTelemetry::inter_token_latency, kNanosecondsPerSecond},
    {"longhaul_request_time_per_output_token_seconds", "A request's mean time for each token after its first.",
     &RequestTelemetry::time_per_output_token, kNanosecondsPerSecond},
    {"longhaul_request_queue_time_seconds", "From a request's admission until its first step.",
     &RequestTelemetry::queue_time, kNanosecondsPerSecond},
    {"longhaul_request_prefill_time_seconds", "From a request's first step until its prompt was read.",
     &RequestTelemetry::prefill_time, kNanosecondsPerSecond},
    {"longhaul_request_decode_time_seconds", "From when a request's prompt was read until its end.",
     &RequestTelemetry::decode_time, kNanosecondsPerSecond},
    {"longhaul_request_prompt_tokens", "Tokens of a request's prompt.", &RequestTelemetry::prompt_tokens, kAsTheyAre},
    {"longhaul_request_generation_tokens", "Tokens that a request produced.", &RequestTelemetry::generation_tokens,
     kAsTheyAre},
};

// All counters of one enumeration, as a family with one label.
template <typename Enum, size_t kSize>
void Fill(FamilyWriter family, const char* label, const std::array<const char*, kSize>& names,
          const CountersBy<Enum, kSize>& counters) {
  for (size_t i = 0; i < kSize; ++i) {
    family.Counter({{label, names[i]}}, static_cast<double>(counters[static_cast<Enum>(i)].value()));
  }
}

template <typename Enum, size_t kSize>
void Fill(FamilyWriter family, const char* label, const std::array<const char*, kSize>& names,
          const HistogramsBy<Enum, kSize>& histograms, double divisor) {
  for (size_t i = 0; i < kSize; ++i) {
    family.Histogram({{label, names[i]}}, histograms[static_cast<Enum>(i)].Read(), divisor);
  }
}

class EngineCollection {
 public:
  EngineCollection(const std::string& model_name, const Telemetry& telemetry, MetricFamilies& families)
      : model_({{"model_name", model_name}}), telemetry_(telemetry), families_(families) {}

  void Requests() const {
    for (const OfRequests& entry : kOfRequests) {
      FamilyWriter family = Histograms(entry.name, entry.help);
      ForEachMode([&](const MetricLabels& labels, const RequestTelemetry& requests) {
        family.Histogram(labels, (requests.*entry.histogram).Read(), entry.divisor);
      });
    }
    FamilyWriter duration =
        Histograms("longhaul_request_duration_seconds", "From a request's admission until its end.");
    ForEachMode([&](const MetricLabels& labels, const RequestTelemetry& requests) {
      ForEachReason(labels, [&](const MetricLabels& with_reason, FinishReason reason) {
        duration.Histogram(with_reason, requests.duration[reason].Read(), kNanosecondsPerSecond);
      });
    });
  }

  void RequestCounters() const {
    FamilyWriter finished = Counters("longhaul_requests_total", "Requests that were accepted and have ended.");
    for (size_t method = 0; method < kRequestMethodNames.size(); ++method) {
      ForEachMode([&](MetricLabels labels, const RequestTelemetry& requests) {
        labels.insert(labels.begin(), {"method", kRequestMethodNames[method]});
        ForEachReason(labels, [&](const MetricLabels& with_reason, FinishReason reason) {
          finished.Counter(with_reason, static_cast<double>(requests.finished[method][reason].value()));
        });
      });
    }
    Fill(Counters("longhaul_admission_rejections_total", "Requests refused before a step was spent on them."), "reason",
         kRejectionNames, telemetry_.rejections);
    Fill(Counters("longhaul_deadline_expired_total", "Requests whose deadline passed, by where they were."), "where",
         kRequestStageNames, telemetry_.deadlines_expired);
    Fill(Counters("longhaul_stream_stalls_total", "Requests given up because nobody took their answer."), "where",
         kRequestStageNames, telemetry_.stream_stalls);
  }

  void Tokens() const {
    Fill(Counters("longhaul_prompt_tokens_total", "Prompt tokens that were computed, or found in the cache."), "source",
         kTokenSourceNames, telemetry_.prompt_tokens);
    int64_t generated = 0;
    ForEachMode(
        [&](const MetricLabels&, const RequestTelemetry& requests) { generated += requests.generated.value(); });
    Counters("longhaul_generation_tokens_total", "Tokens that were produced.")
        .Counter({}, static_cast<double>(generated));
  }

  void Positions() const {
    FamilyWriter refits = Counters("longhaul_position_refits_total",
                                   "Requests for which auto or a fit chose another plan than the plain one.");
    for (size_t mode = kFirstResolvedMode; mode < kPositionModes; ++mode) {
      int64_t n = 0;
      for (const RequestTelemetry& requests : telemetry_.requests[mode]) n += requests.refits.value();
      refits.Counter({{"position_mode", PositionModeName(mode)}}, static_cast<double>(n));
    }
  }

  void Cache(const EngineStats& stats) const {
    const auto share =
        static_cast<double>(stats.blocks_used) / static_cast<double>(stats.blocks_total > 0 ? stats.blocks_total : 1);
    Gauges("longhaul_kv_cache_usage_ratio", "Share of the KV cache's blocks that requests hold, 0 to 1.")
        .Gauge({}, share);
    FamilyWriter blocks = Gauges("longhaul_kv_cache_blocks", "Blocks of the KV cache by what they are.");
    const int64_t n_free = stats.blocks_total - stats.blocks_used - stats.blocks_cached;
    blocks.Gauge({{"state", "free"}}, static_cast<double>(n_free));
    blocks.Gauge({{"state", "held"}}, static_cast<double>(stats.blocks_used));
    blocks.Gauge({{"state", "cached"}}, static_cast<double>(stats.blocks_cached));
    Count("longhaul_prefix_cache_queries_total", "Tokens that were looked up in the prefix cache.",
          telemetry_.prefix_cache_queries);
    Count("longhaul_prefix_cache_hits_total", "Tokens that were found in the prefix cache.",
          telemetry_.prefix_cache_hits);
    Count("longhaul_prefix_cache_evictions_total", "Blocks that the prefix cache gave up for others.",
          telemetry_.prefix_cache_evictions);
    Count("longhaul_preemptions_total", "Groups of rows whose blocks were taken away for others.",
          telemetry_.preemptions);
  }

  void Steps(const EngineStats& stats) const {
    Gauges("longhaul_requests_running", "Requests that hold cache.").Gauge({}, static_cast<double>(stats.running));
    Gauges("longhaul_requests_waiting", "Requests that wait for their first step.")
        .Gauge({}, static_cast<double>(stats.waiting));
    Gauges("longhaul_rows_running", "Rows of the running requests.").Gauge({}, static_cast<double>(stats.running_rows));
    Fill(Histograms("longhaul_step_seconds", "Time of an engine step by phase."), "phase", kStepPhaseNames,
         telemetry_.step_time, kNanosecondsPerSecond);
    Fill(Histograms("longhaul_step_tokens", "Tokens of an engine step."), "kind", kStepKindNames,
         telemetry_.step_tokens, kAsTheyAre);
    Fill(Histograms("longhaul_step_rows", "Rows of an engine step."), "kind", kStepKindNames, telemetry_.step_rows,
         kAsTheyAre);
    Counters("longhaul_emit_cpu_seconds_total", "CPU time of the engine's thread for handing tokens over.")
        .Counter({}, static_cast<double>(telemetry_.emit_cpu.value()) / kNanosecondsPerSecond);
    Gauges("longhaul_last_step_timestamp_seconds", "When the last engine step ended, in seconds since 1970.")
        .Gauge({}, static_cast<double>(telemetry_.last_step.load()) / kNanosecondsPerSecond);
  }

  void Nbce() const {
    Histograms("longhaul_request_contexts", "Documents of an NBCE request.")
        .Histogram({}, telemetry_.contexts.Read(), kAsTheyAre);
    Count("longhaul_context_switches_total", "Tokens for which NBCE chose another document than for the one before.",
          telemetry_.context_switches);
    Count("longhaul_nbce_fallbacks_total", "Tokens that NBCE took from the row of least entropy alone.",
          telemetry_.nbce_fallbacks);
  }

 private:
  FamilyWriter Histograms(const char* name, const char* help) const {
    return FamilyWriter(families_, name, help, MetricType::Histogram, model_);
  }
  FamilyWriter Counters(const char* name, const char* help) const {
    return FamilyWriter(families_, name, help, MetricType::Counter, model_);
  }
  FamilyWriter Gauges(const char* name, const char* help) const {
    return FamilyWriter(families_, name, help, MetricType::Gauge, model_);
  }
  void Count(const char* name, const char* help, const Counter& counter) const {
    Counters(name, help).Counter({}, static_cast<double>(counter.value()));
  }

  void ForEachMode(const std::function<void(const MetricLabels&, const RequestTelemetry&)>& visit) const {
    for (size_t mode = kFirstResolvedMode; mode < kPositionModes; ++mode) {
      for (size_t decoding = 0; decoding < kDecodingKindNames.size(); ++decoding) {
        visit({{"position_mode", PositionModeName(mode)}, {"decoding", kDecodingKindNames[decoding]}},
              telemetry_.requests[mode][decoding]);
      }
    }
  }

  static void ForEachReason(MetricLabels labels, const std::function<void(const MetricLabels&, FinishReason)>& visit) {
    labels.push_back({"finish_reason", ""});
    for (size_t i = 0; i < kFinishReasons; ++i) {
      labels.back().value = Name(static_cast<FinishReason>(i));
      visit(labels, static_cast<FinishReason>(i));
    }
  }

  const MetricLabels model_;
  const Telemetry& telemetry_;
  MetricFamilies& families_;
};

}  // namespace

void CollectEngine(const std::string& model_name, const Telemetry& telemetry, const EngineStats& stats,
                   MetricFamilies& families) {
  const EngineCollection collection(model_name, telemetry, families);
  collection.Requests();
  collection.RequestCounters();
  collection.Tokens();
  collection.Positions();
  collection.Cache(stats);
  collection.Steps(stats);
  collection.Nbce();
}

}  // namespace longhaul
