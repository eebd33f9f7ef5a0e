// What scheduling costs by itself: CPU time of the scheduler's calls of a step, NextStep to StepDone, with the
// prefix cache on and a backend that computes nothing. The bound is 50 microseconds with 128 rows that decode.
//   scheduler_bench [MODEL]
// Then the prefix cache alone where nothing is ever found in it: what it takes of a step that reads 512 tokens of a
// prompt, beside the time of that step on the model. The bound is 1 %.

#include <time.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

#include "engine/cache/block_pool.h"
#include "engine/cache/prefix_cache.h"
#include "engine/model/model_file.h"
#include "engine/model/single_runner.h"
#include "engine/position/position_resolver.h"
#include "engine/scheduling/scheduler.h"
#include "tests/engine/scheduling/fixed_draw.h"
#include "tests/support/test_model.h"

namespace longhaul {
namespace {

constexpr double kStepSeconds = 0.1;  // what a step is said to have taken, with 128 rows
constexpr int64_t kChunk = 512;

double CpuMicroseconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) * 1e6 + static_cast<double>(time.tv_nsec) * 1e-3;
}

double At(std::vector<double> values, double part) {
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(part * static_cast<double>(values.size() - 1))];
}

// Groups of one row, as the engine would hold them.
class Load {
 public:
  explicit Load(int64_t n_blocks = 1 << 15) : pool_(GeometryOf(n_blocks)) {}

  // A prompt whose first `shared` tokens are those of all others.
  void Add(int64_t prompt, int64_t answer, int64_t shared = 0) {
    auto group = std::make_unique<Group>();
    std::vector<TokenId> text(static_cast<size_t>(prompt));
    for (TokenId& token : text) token = static_cast<TokenId>(random_() % 49152);
    std::fill(text.begin(), text.begin() + shared, 1);
    group->rows.emplace_back(std::move(text), plan_, pool_);
    group->max_new_tokens = answer;
    group->draws = &draws_;
    group->client = "client " + std::to_string(groups_.size() % 8);
    scheduler_.Add(*group, now_);
    groups_.push_back(std::move(group));
  }

  // One step as the engine runs it; CPU microseconds of the scheduler.
  double Step() {
    const double begin = CpuMicroseconds();
    const longhaul::Step step = scheduler_.NextStep(now_).value();
    scheduler_.OnSubmitted(step);
    const double made = CpuMicroseconds();
    // What would be computed here ends up in other caches of the machine than these lists do.
    Disturb();
    const double computed = CpuMicroseconds();
    scheduler_.StepDone(step, kStepSeconds);
    const double done = CpuMicroseconds();
    now_ += kStepSeconds;
    prompt_tokens_ = decode_rows_ = 0;
    for (const longhaul::Step::GroupPart& part : step.groups) {
      Group& group = *part.group;
      const int64_t n_new = step.rows[static_cast<size_t>(part.first_row)].n_new;
      (n_new > 1 ? prompt_tokens_ : decode_rows_) += n_new;
      if (!part.draws) continue;
      Sequence& sequence = group.rows.front();
      sequence.tokens.push_back(static_cast<TokenId>(random_() % 49152));
      if (std::ssize(sequence.tokens) < group.Capacity(sequence)) continue;
      ended_.push_back(&group);
    }
    for (Group* group : std::exchange(ended_, {})) {
      scheduler_.Remove(*group);
      std::erase_if(groups_, [group](const auto& other) { return other.get() == group; });
    }
    return (made - begin) + (done - computed);
  }

  int64_t prompt_tokens() const { return prompt_tokens_; }
  int64_t decode_rows() const { return decode_rows_; }
  int64_t size() const { return std::ssize(groups_); }

 private:
  // Walks over as much memory as the second level of a cache holds.
  void Disturb() {
    for (size_t i = 0; i < memory_.size(); i += 16) memory_[i] += static_cast<int>(i);
  }

  const std::shared_ptr<const RotaryPlan> plan_ = std::make_shared<const RotaryPlan>();
  const FixedDraw draws_;
  BlockPool pool_;
  Scheduler scheduler_{{}, pool_};
  std::vector<std::unique_ptr<Group>> groups_;
  std::vector<Group*> ended_;
  std::vector<int> memory_ = std::vector<int>(1 << 19);
  std::mt19937_64 random_{1};
  double now_ = 0;
  int64_t prompt_tokens_ = 0, decode_rows_ = 0;
};

void Print(const char* what, const std::vector<double>& times, double decoding, double reading) {
  std::printf("%-44s median %6.1f us, p99 %6.1f us, mean %6.1f us a step (%.0f rows decode, %.0f prompt tokens)\n",
              what, At(times, 0.5), At(times, 0.99),
              std::accumulate(times.begin(), times.end(), 0.0) / static_cast<double>(times.size()), decoding, reading);
}

// `waiting`: so many prompts are read or wait beside the rows that decode, always.
void MeasureSteps(const char* what, int64_t rows, int64_t waiting) {
  constexpr int kSteps = 2000;
  Load load;
  for (int64_t i = 0; i < rows; ++i) load.Add(100 + i % 16, 4096);
  while (load.decode_rows() < rows) load.Step();
  std::vector<double> times;
  double decoding = 0, reading = 0;
  for (int i = 0; i < kSteps; ++i) {
    // A prompt that has been read ends with its first token, so that as many rows decode all the time.
    while (load.size() < rows + waiting) load.Add(1000, 1);
    times.push_back(load.Step());
    decoding += static_cast<double>(load.decode_rows()) / kSteps;
    reading += static_cast<double>(load.prompt_tokens()) / kSteps;
  }
  Print(what, times, decoding, reading);
}

// Nobody who waits fits, but what is free changes with every step; all begin with a text that the cache knows.
void MeasureCrowd(const char* what, int64_t rows, int64_t waiting, int64_t shared) {
  constexpr int kSteps = 400;
  Load load(GeometryOf(1).BlocksFor(shared) + rows * GeometryOf(1).BlocksFor(300 + kSteps));
  for (int64_t i = 0; i < rows; ++i) {
    load.Add(shared + 100 + i % 16, 4096, shared);
    while (load.decode_rows() <= i) load.Step();
  }
  for (int64_t i = 0; i < waiting; ++i)
    load.Add(shared + 16 * rows * GeometryOf(1).BlocksFor(300 + kSteps) - 16, 1, shared);
  std::vector<double> times;
  for (int i = 0; i < kSteps; ++i) times.push_back(load.Step());
  Print(what, times, static_cast<double>(load.decode_rows()), static_cast<double>(load.prompt_tokens()));
}

// CPU microseconds of the cache for a prompt's chunk: looked for at its arrival and at its admission, published after.
double CacheTime(PrefixCache& cache, BlockPool& pool, std::mt19937_64& random) {
  std::vector<TokenId> text(kChunk);
  for (TokenId& token : text) token = static_cast<TokenId>(random() % 49152);
  std::vector<BlockId> blocks;
  for (int64_t i = 0; i < GeometryOf(1).BlocksFor(kChunk); ++i) blocks.push_back(pool.Allocate());
  PrefixHash hash = PrefixCache::Empty(0, {1, 2});
  const double begin = CpuMicroseconds();
  cache.Peek(text, GeometryOf(1).BlocksFor(kChunk), hash);
  if (!cache.Take(text, GeometryOf(1).BlocksFor(kChunk), hash).empty()) std::abort();
  for (size_t i = 0; i < blocks.size(); ++i) {
    cache.Publish(blocks[i], std::span(text).subspan(i * kBlock, kBlock), hash);
  }
  const double microseconds = CpuMicroseconds() - begin;
  for (BlockId block : blocks) pool.Release(block);
  return microseconds;
}

// Seconds of a step that reads kChunk tokens from position 0.
double StepTime(SingleRunner& runner, const RotaryPlan& plan) {
  BlockPool pool(runner.info().geometry);
  Scheduler scheduler({.step_target = 1e6}, pool);
  Group group;
  group.rows.emplace_back(std::vector<TokenId>(kChunk + 1, 1000), std::make_shared<const RotaryPlan>(plan), pool);
  group.max_new_tokens = 1;
  scheduler.Add(group, 0);
  Batch batch = scheduler.NextStep(0)->batch;
  const auto begin = std::chrono::steady_clock::now();
  const auto ticket = runner.Submit(std::move(batch));
  if (!ticket.ok() || !runner.Collect(*ticket).ok()) std::abort();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  scheduler.Remove(group);
  return seconds;
}

int Main(int argc, char** argv) {
  MeasureSteps("128 rows decode", 128, 0);
  MeasureSteps("128 rows decode, 4 prompts beside them", 128, 4);
  MeasureSteps("96 rows decode, 32 prompts beside them", 96, 32);
  MeasureCrowd("128 rows decode, 100 prompts do not fit", 128, 100, 2000);
  MeasureSteps("no row decodes, 32 prompts", 0, 32);

  const auto model = LoadModelFile(argc > 1 ? argv[1] : TestModelPath());
  if (!model.ok()) return 1;
  SingleRunnerOptions options;
  options.kv_cache_bytes = int64_t{1} << 30;
  const auto runner = *SingleRunner::Create(*model, options);
  const auto positions = *PositionResolver::Create(model->config.rotation, DefaultLongMode(), 0);
  BlockPool pool(runner->info().geometry);
  PrefixCache cache(pool);
  std::mt19937_64 random(1);
  std::vector<double> cache_times, step_times;
  for (int i = 0; i < 1000; ++i) cache_times.push_back(CacheTime(cache, pool, random));
  for (int i = 0; i < 9; ++i) step_times.push_back(StepTime(*runner, positions.plain_plan()));
  const double cache_time = At(cache_times, 0.5), step_time = 1e6 * At(step_times, 0.5);
  std::printf(
      "prefix cache, nothing found: %.1f us (p99 %.1f us) of a step of %ld prompt tokens that takes %.0f us: %.4f %% "
      "(bound 1)\n",
      cache_time, At(cache_times, 0.99), static_cast<long>(kChunk), step_time, 100 * cache_time / step_time);
  return 0;
}

}  // namespace
}  // namespace longhaul

int main(int argc, char** argv) {
  return longhaul::Main(argc, argv);
}
