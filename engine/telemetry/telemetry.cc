#include "engine/telemetry/telemetry.h"

#include <cmath>

namespace longhaul {
namespace {

constexpr int64_t kMicrosecond = 1000;

template <typename... Numbers>
constexpr std::array<int64_t, sizeof...(Numbers)> Scaled(int64_t unit, Numbers... numbers) {
  return {numbers * unit...};
}

template <size_t kSize>
constexpr std::array<int64_t, kSize> PowersOf2(int64_t first) {
  std::array<int64_t, kSize> bounds{};
  for (size_t i = 0; i < kSize; ++i) bounds[i] = first << i;
  return bounds;
}

constexpr auto kLongTimes = Scaled(1000 * kMicrosecond, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10'000, 20'000,
                                   40'000, 80'000, 160'000, 320'000, 640'000, 1'280'000, 2'560'000, 7'680'000);
constexpr auto kShortTimes = Scaled(kMicrosecond, 500, 1000, 2500, 5000, 10'000, 15'000, 20'000, 30'000, 40'000, 50'000,
                                    75'000, 100'000, 150'000, 200'000, 300'000, 400'000, 500'000, 750'000, 1'000'000,
                                    2'500'000, 5'000'000, 10'000'000, 20'000'000, 40'000'000, 80'000'000);
constexpr auto kTokens = PowersOf2<19>(16);
constexpr auto kRows = PowersOf2<10>(1);

std::chrono::nanoseconds FromSeconds(double seconds) {
  return std::chrono::nanoseconds(std::llround(seconds * 1e9));
}

}  // namespace

std::span<const int64_t> LongTimeBuckets() {
  return kLongTimes;
}

std::span<const int64_t> ShortTimeBuckets() {
  return kShortTimes;
}

std::span<const int64_t> TokenBuckets() {
  return kTokens;
}

std::span<const int64_t> RowBuckets() {
  return kRows;
}

void RequestTelemetry::OnFinished(RequestMethod method, const Finished& request, std::chrono::nanoseconds total,
                                  std::chrono::nanoseconds since_first_token, int64_t n_answers) {
  finished[static_cast<size_t>(method)][request.reason].Add();
  duration[request.reason].Observe(total);
  queue_time.Observe(FromSeconds(request.timings.queue));
  prefill_time.Observe(FromSeconds(request.timings.prefill));
  decode_time.Observe(FromSeconds(request.timings.decode));
  prompt_tokens.Observe(request.usage.prompt_tokens);
  const int64_t tokens = request.usage.completion_tokens;
  generation_tokens.Observe(tokens);
  // The answers of a request are made side by side.
  if (tokens > n_answers) time_per_output_token.Observe(since_first_token * n_answers / (tokens - n_answers));
}

}  // namespace longhaul
