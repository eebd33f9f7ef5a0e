// Attention alone, in the shape of the default model: 9 query heads, 3 kv heads, head_dim 64.
//   attention_bench --benchmark_filter='Prefill/.*'
// Arguments: tokens of a step, tokens before it, type of the cache (1 f32, 2 bf16, 3 f16), threads.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <numeric>
#include <random>
#include <vector>

#include "benchmark/benchmark.h"
#include "engine/backend/cpu/attention/attention.h"
#include "engine/backend/cpu/attention/kv_cache.h"
#include "engine/backend/cpu/worker_pool.h"
#include "engine/position/rotary_plan.h"
#include "tests/support/hand_batch.h"

namespace longhaul::cpu {
namespace {

constexpr int64_t kHeads = 9, kKvHeads = 3, kHeadDim = 64;
constexpr int64_t kQkvWidth = (kHeads + 2 * kKvHeads) * kHeadDim;

void Attend(benchmark::State& state) {
  const int64_t n_new = state.range(0), depth = state.range(1);
  const auto type = static_cast<CacheType>(state.range(2));
  // Enough layers that a step does not find the last one's keys in the near caches.
  const int64_t n_layers = std::clamp<int64_t>(30 * 1024 / (depth + n_new), 1, 30);
  const int64_t n_blocks = (depth + n_new + kBlockTokens - 1) / kBlockTokens;
  const CacheShape shape{.n_layers = n_layers, .n_heads = kHeads, .n_kv_heads = kKvHeads, .head_dim = kHeadDim};
  CacheGeometry geometry = *PlanCache(shape, type, INT64_MAX);
  geometry.n_blocks = n_blocks;
  auto cache = KvCache::Create(shape, geometry, type).value();
  // A small number in every type.
  std::memset(cache->Page(0, 0), 0x3c, static_cast<size_t>(geometry.block_bytes * n_blocks));
  WorkerPool pool(static_cast<int>(state.range(3)));
  Attention attention(*cache, n_new, pool);

  RotaryPlan plan;
  for (int i = 0; i < kHeadDim / 2; ++i) plan.inv_freq.push_back(std::pow(10000.0, -i / 32.0));
  SetFingerprint(plan);
  std::vector<BlockId> blocks(static_cast<size_t>(n_blocks));
  std::iota(blocks.begin(), blocks.end(), 0);
  std::mt19937 random(1);
  std::shuffle(blocks.begin(), blocks.end(), random);
  Batch batch;
  const std::vector<TokenId> tokens(static_cast<size_t>(n_new));
  AddGroup(batch, {{.tokens = tokens, .length = depth, .blocks = blocks, .plan = std::make_shared<RotaryPlan>(plan)}});
  std::normal_distribution<float> normal(0, 1);
  std::vector<float> qkv(static_cast<size_t>(n_new * kQkvWidth)), out(qkv.size());
  for (float& x : qkv) x = normal(random);

  int64_t layer = 0;
  for (auto unused : state) {
    std::vector<float> input = qkv;
    const auto start = std::chrono::steady_clock::now();
    attention.BeginStep(batch);
    attention.Run(layer++ % n_layers, input.data(), out.data());
    state.SetIterationTime(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  const double pairs =
      static_cast<double>(n_new) * static_cast<double>(depth) + static_cast<double>(n_new * (n_new + 1) / 2);
  const double steps = static_cast<double>(state.iterations());
  state.counters["FLOP/s"] = benchmark::Counter(4 * pairs * kHeads * kHeadDim * steps, benchmark::Counter::kIsRate);
  state.counters["B/s"] =
      benchmark::Counter(static_cast<double>(depth + n_new) * static_cast<double>(geometry.block_bytes) /
                             static_cast<double>(kBlockTokens * n_layers) * steps,
                         benchmark::Counter::kIsRate);
}

void Prefill(benchmark::State& state) {
  Attend(state);
}
void Decode(benchmark::State& state) {
  Attend(state);
}

const std::vector<int64_t> kTypes = {1, 2, 3}, kThreads = {1, 2};
BENCHMARK(Prefill)->ArgsProduct({{512}, {0, 8192}, kTypes, kThreads})->UseManualTime()->Unit(benchmark::kMicrosecond);
BENCHMARK(Decode)
    ->ArgsProduct({{1}, {511, 4095, 16383}, kTypes, kThreads})
    ->UseManualTime()
    ->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace longhaul::cpu

BENCHMARK_MAIN();
