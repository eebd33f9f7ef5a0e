#include "engine/telemetry/step_counter.h"

#include <chrono>
#include <tuple>

namespace longhaul {

void StepCounter::CountScheduling(const Scheduler& scheduler) {
  const SchedulerStats& stats = scheduler.stats();
  const int64_t cached = stats.cached_prompt_tokens - counted_.cached_prompt_tokens;
  telemetry_.prompt_tokens[TokenSource::kCached].Add(cached);
  telemetry_.prefix_cache_hits.Add(cached);
  telemetry_.prefix_cache_queries.Add(cached + stats.computed_prompt_tokens - counted_.computed_prompt_tokens);
  telemetry_.preemptions.Add(stats.preemptions - counted_.preemptions);
  telemetry_.prefix_cache_evictions.Add(scheduler.cache().evictions() - counted_evictions_);
  counted_ = stats;
  counted_evictions_ = scheduler.cache().evictions();
}

void StepCounter::CountStep(const StepTally& tally) {
  telemetry_.prompt_tokens[TokenSource::kComputed].Add(tally.prompt_tokens);
  for (const auto& [kind, rows, tokens] : {std::tuple(StepKind::kDecode, tally.decode_rows, tally.decode_rows),
                                           std::tuple(StepKind::kPrefill, tally.prefill_rows, tally.prefill_tokens)}) {
    if (rows == 0) continue;
    telemetry_.step_rows[kind].Observe(rows);
    telemetry_.step_tokens[kind].Observe(tokens);
  }
  telemetry_.last_step = std::chrono::nanoseconds(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace longhaul
