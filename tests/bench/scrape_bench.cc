// What a scrape costs: CPU time of collecting and writing all metrics, every series filled and changed since the last
// one. The bound is 5 ms.
//   build/release/tests/bench/scrape_bench

#include <prometheus/text_serializer.h>
#include <time.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <random>
#include <vector>

#include "engine/telemetry/telemetry.h"
#include "longhaul/v1/inference.pb.h"
#include "server/metrics/engine_metrics.h"
#include "server/metrics/metrics_text.h"
#include "server/metrics/process_metrics.h"
#include "server/metrics/rpc_metrics.h"

namespace longhaul {
namespace {

double CpuMilliseconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) * 1e3 + static_cast<double>(time.tv_nsec) * 1e-6;
}

// Adds to every bucket of every histogram and to every counter.
void Fill(Telemetry& telemetry, std::mt19937_64& random) {
  const auto fill = [&](Histogram& histogram, std::span<const int64_t> bounds) {
    for (int64_t bound : bounds) {
      for (uint64_t n = 1 + random() % 3; n > 0; --n)
        histogram.Observe(bound - static_cast<int64_t>(random() % 997 % static_cast<uint64_t>(bound)));
    }
    histogram.Observe(bounds.back() * 2);
  };
  for (auto& of_mode : telemetry.requests) {
    for (RequestTelemetry& requests : of_mode) {
      fill(requests.time_to_first_token, LongTimeBuckets());
      fill(requests.inter_token_latency, ShortTimeBuckets());
      fill(requests.time_per_output_token, ShortTimeBuckets());
      for (Histogram* time : {&requests.queue_time, &requests.prefill_time, &requests.decode_time}) {
        fill(*time, LongTimeBuckets());
      }
      for (Histogram* tokens : {&requests.prompt_tokens, &requests.generation_tokens}) fill(*tokens, TokenBuckets());
      for (size_t reason = 0; reason < kFinishReasons; ++reason) {
        fill(requests.duration[static_cast<FinishReason>(reason)], LongTimeBuckets());
        for (auto& method : requests.finished) method[static_cast<FinishReason>(reason)].Add(1 + random() % 1000);
      }
      requests.generated.Add(12345);
      requests.refits.Add(3);
    }
  }
  for (size_t phase = 0; phase < kStepPhaseNames.size(); ++phase) {
    fill(telemetry.step_time[static_cast<StepPhase>(phase)], ShortTimeBuckets());
  }
  for (size_t kind = 0; kind < kStepKindNames.size(); ++kind) {
    fill(telemetry.step_tokens[static_cast<StepKind>(kind)], TokenBuckets());
    fill(telemetry.step_rows[static_cast<StepKind>(kind)], RowBuckets());
  }
  fill(telemetry.contexts, RowBuckets());
}

void Run() {
  constexpr int kScrapes = 50;
  Telemetry telemetry;
  const EngineStats stats{.running = 3, .waiting = 2, .running_rows = 3, .blocks_total = 1000, .blocks_used = 77};
  const RpcMetrics rpcs({v1::GenerateRequest::descriptor()->file()});
  std::mt19937_64 random(1);
  std::vector<double> collect, write, library;
  size_t bytes = 0, lines = 0;
  for (int i = 0; i < kScrapes; ++i) {
    Fill(telemetry, random);
    const double begin = CpuMilliseconds();
    MetricFamilies families;
    CollectEngine("SmolLM2 135M Instruct", telemetry, stats, families);
    rpcs.Collect(families);
    CollectProcess(families);
    const double collected = CpuMilliseconds();
    const std::string text = MetricsText(families);
    const double written = CpuMilliseconds();
    const size_t reference = prometheus::TextSerializer().Serialize(families).size();
    library.push_back(CpuMilliseconds() - written);
    collect.push_back(collected - begin);
    write.push_back(written - collected);
    if (reference != text.size()) std::printf("the texts differ\n");
    bytes = text.size();
    lines = static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
  }
  const auto median = [](std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
  };
  const auto most = [](const std::vector<double>& values) { return *std::max_element(values.begin(), values.end()); };
  std::printf("%zu lines, %zu bytes, %d scrapes\n", lines, bytes, kScrapes);
  std::printf("collect  median %6.3f ms  most %6.3f ms\n", median(collect), most(collect));
  std::printf("write    median %6.3f ms  most %6.3f ms\n", median(write), most(write));
  std::printf("together median %6.3f ms of CPU (bound 5)\n", median(collect) + median(write));
  std::printf("TextSerializer would write in %6.3f ms\n", median(library));
}

}  // namespace
}  // namespace longhaul

int main() {
  longhaul::Run();
}
