// What NBCE costs a decode step on the default model: 16 documents and the empty row as one group, beside 17 plain
// requests of the same lengths in one batch. The two take turns, step by step, so that whatever else the machine does
// falls on both. Printed: the ratio of the steps (wanted: at most 1.05), and the combine's share of the group's step,
// all that makes its token of its logits (wanted: at most 5 %).
//   nbce_step_bench [STEPS [LENGTH [COMPUTE_TYPE [CACHE_TYPE]]]]     default: 200 300 int8 bf16

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <string>
#include <vector>

#include "engine/cache/block_pool.h"
#include "engine/model/model_file.h"
#include "engine/model/single_runner.h"
#include "engine/position/position_resolver.h"
#include "engine/scheduling/sequence.h"
#include "tests/support/hand_batch.h"
#include "tests/support/test_model.h"

namespace longhaul {
namespace {

constexpr size_t kRows = 17;

struct StepTime {
  double step = 0, sampling = 0;
};

// Rows that grow by the same tokens, as one group or each for itself.
class Rows {
 public:
  Rows(SingleRunner& runner, BlockPool& pool, const std::shared_ptr<const RotaryPlan>& plan, int64_t length,
       int64_t capacity, bool as_one)
      : runner_(runner), as_one_(as_one) {
    for (size_t r = 0; r < kRows; ++r) {
      std::vector<TokenId> tokens;
      for (int64_t i = 0; i < length; ++i) {
        tokens.push_back(static_cast<TokenId>(1000 + (static_cast<int64_t>(r) * 911 + i * 37) % 20000));
      }
      Sequence& row = rows_.emplace_back(std::move(tokens), plan, pool);
      row.Reserve(capacity, capacity);
      Run(r, r + 1, length);
    }
  }

  StepTime Decode(TokenId token) {
    for (Sequence& row : rows_) row.tokens.push_back(token);
    return Run(0, kRows, 1);
  }

 private:
  StepTime Run(size_t begin, size_t end, int64_t n_new) {
    Batch batch;
    std::vector<HandRow> parts;
    for (size_t r = begin; r < end; ++r) {
      const Sequence& row = rows_[r];
      const auto tokens =
          std::span(row.tokens).subspan(static_cast<size_t>(row.n_computed), static_cast<size_t>(n_new));
      parts.push_back({.tokens = tokens, .length = row.n_computed, .blocks = row.blocks.blocks(), .plan = row.plan});
    }
    if (as_one_ && n_new == 1) {
      BatchDraw draw = Greedy();
      draw.merge = MergePolicy();
      draw.previous = previous_;
      AddGroup(batch, parts, draw);
    } else {
      for (const HandRow& part : parts) AddGroup(batch, {part}, Greedy());
    }
    const auto started = std::chrono::steady_clock::now();
    const auto ticket = runner_.Submit(std::move(batch));
    if (!ticket.ok()) std::abort();
    const auto result = runner_.Collect(*ticket);
    if (!result.ok()) std::abort();
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
    for (size_t r = begin; r < end; ++r) rows_[r].n_computed += n_new;
    if (as_one_ && n_new == 1) previous_ = result->groups[0].choice.row;
    return {seconds, std::chrono::duration<double>(result->sampling).count()};
  }

  SingleRunner& runner_;
  const bool as_one_;
  std::deque<Sequence> rows_;
  int32_t previous_ = -1;
};

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

int Main(int argc, char** argv) {
  const int steps = argc > 1 ? std::atoi(argv[1]) : 200;
  const int64_t length = argc > 2 ? std::atoll(argv[2]) : 300;
  const auto model = LoadModelFile(TestModelPath());
  if (!model.ok() || steps < 1 || length < 2) return 1;
  SingleRunnerOptions options;
  options.backend.compute_type = argc > 3 ? *ParseComputeType(argv[3]) : ComputeType::kInt8;
  options.backend.cache_type = argc > 4 ? *ParseCacheType(argv[4]) : CacheType::kBf16;
  options.kv_cache_bytes = int64_t{2} << 30;
  options.limits.max_tokens = std::max<int64_t>(length, 512);
  const auto runner = *SingleRunner::Create(*model, options);
  const auto resolver = *PositionResolver::Create(model->config.rotation, DefaultLongMode(), 0);
  BlockPool pool(runner->info().geometry);
  const auto plan = std::make_shared<const RotaryPlan>(resolver.plain_plan());
  Rows one_group(*runner, pool, plan, length, length + steps, true);
  Rows plain(*runner, pool, plan, length, length + steps, false);
  std::vector<double> ratios, shares, group_steps;
  for (int i = 0; i < steps; ++i) {
    const TokenId token = 1000 + i;
    StepTime group, apart;
    if (i % 2 == 0) group = one_group.Decode(token);
    apart = plain.Decode(token);
    if (i % 2 == 1) group = one_group.Decode(token);
    ratios.push_back(group.step / apart.step);
    shares.push_back(group.sampling / group.step);
    group_steps.push_back(group.step);
  }
  std::printf("%s products, %s cache, %s; %zu rows of %ld tokens, %d pairs of steps\n",
              std::string(Name(options.backend.compute_type)).c_str(),
              std::string(Name(options.backend.cache_type)).c_str(), runner->info().backend.instruction_set.c_str(),
              kRows, static_cast<long>(length), steps);
  std::printf(
      "a group's step %.2f ms; / that of plain requests %.3f (at most 1.05: %s); combine and sample %.2f %% of it "
      "(at most 5: %s)\n",
      1e3 * Median(group_steps), Median(ratios), Median(ratios) <= 1.05 ? "yes" : "NO", 100 * Median(shares),
      Median(shares) <= 0.05 ? "yes" : "NO");
  return 0;
}

}  // namespace
}  // namespace longhaul

int main(int argc, char** argv) {
  return longhaul::Main(argc, argv);
}
