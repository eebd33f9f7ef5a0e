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

void StepCounter::CountStep(const Scheduler& scheduler) {
  const Batch& batch = scheduler.batch();
  int64_t decode_rows = 0, prefill_rows = 0, prefill_tokens = 0, prompt_tokens = 0;
  for (size_t g = 0; g < batch.groups.size(); ++g) {
    const bool reads_prompt = !scheduler.scheduled()[g]->prompt_read;
    for (int r = batch.groups[g].first_row; r < batch.groups[g].first_row + batch.groups[g].n_rows; ++r) {
      const int64_t n_new = batch.rows[static_cast<size_t>(r)].n_new;
      if (reads_prompt) prompt_tokens += n_new;
      if (!reads_prompt && n_new == 1) {
        ++decode_rows;
      } else {
        ++prefill_rows;
        prefill_tokens += n_new;
      }
    }
  }
  telemetry_.prompt_tokens[TokenSource::kComputed].Add(prompt_tokens);
  for (const auto& [kind, rows, tokens] : {std::tuple(StepKind::kDecode, decode_rows, decode_rows),
                                           std::tuple(StepKind::kPrefill, prefill_rows, prefill_tokens)}) {
    if (rows == 0) continue;
    telemetry_.step_rows[kind].Observe(rows);
    telemetry_.step_tokens[kind].Observe(tokens);
  }
  telemetry_.last_step = std::chrono::nanoseconds(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace longhaul
