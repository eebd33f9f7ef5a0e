// The memory of steps: what a step takes is bounded, and one that finds none leaves the runner as it was.

#include "engine/model/single_runner.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/exceptions.h"
#include "engine/model/model_file.h"
#include "engine/position/position_resolver.h"
#include "tests/support/failing_memory.h"
#include "tests/support/hand_batch.h"
#include "tests/support/small_model.h"

namespace longhaul {
namespace {

constexpr int64_t kCapacity = 700;  // tokens of a row: past one range of attention
constexpr int64_t kLongPrompt = 560;

const ModelFile& Model() {
  static const ModelFile* const model = new ModelFile(LoadModelFile(SmallModelPath()).value());
  return *model;
}

std::unique_ptr<SingleRunner> MakeRunner(ComputeType compute, int threads) {
  SingleRunnerOptions options;
  options.backend.compute_type = compute;
  options.backend.cache_type = CacheType::kBf16;
  options.backend.threads = threads;
  options.kv_cache_bytes = int64_t{32} << 20;
  options.limits = {.max_tokens = 1024, .max_logit_rows = 64};
  return SingleRunner::Create(Model(), options).value();
}

std::shared_ptr<const RotaryPlan> PlanOf(const decltype(PositionMode::kind)& kind) {
  const auto resolver = PositionResolver::Create(Model().config.rotation, {.kind = position::Rerope()}, 0).value();
  PositionMode mode;
  mode.kind = kind;
  mode.trained_length = 128;
  mode.allow_beyond_reach = true;
  return std::make_shared<const RotaryPlan>(resolver.Resolve(mode, kCapacity)->plan);
}

// Groups whose rows are read, then decoded: every batch is made before any step is done, as tokens are what the step
// before drew.
class Script {
 public:
  explicit Script(const CacheGeometry& geometry) : geometry_(geometry) {}

  // A group of rows of so many tokens each.
  void Add(const std::shared_ptr<const RotaryPlan>& plan, std::vector<int64_t> prompts, SamplingParams params,
           std::optional<MergePolicy> merge = {}) {
    Group& group = groups_.emplace_back();
    SamplerSpec spec;
    spec.params = std::move(params);
    spec.params.seed = groups_.size();
    spec.top_logprobs = 3;
    group.draw.spec = std::make_shared<const SamplerSpec>(std::move(spec));
    group.draw.merge = merge;
    for (int64_t prompt : prompts) {
      Row& row = group.rows.emplace_back();
      row.prompt = prompt;
      row.plan = plan;
      Take(geometry_.BlocksFor(kCapacity), row.blocks);
      Take(geometry_.RingBlocks(*plan, kCapacity), row.ring);
    }
  }

  // The prompts; or one token more of every row.
  Batch Next() {
    Batch batch;
    for (size_t g = 0; g < groups_.size(); ++g) {
      Group& group = groups_[g];
      std::vector<std::vector<TokenId>> tokens;
      for (const Row& row : group.rows) {
        tokens.push_back({DrawnBy(static_cast<int32_t>(g))});
        if (row.length == 0) tokens.back() = Prompt(row.prompt);
      }
      std::vector<HandRow> rows;
      for (size_t r = 0; r < group.rows.size(); ++r) {
        const Row& row = group.rows[r];
        rows.push_back({tokens[r], row.length, row.blocks, row.ring, row.length > 0, row.plan});
      }
      const TokenId target = 5;
      AddGroup(batch, rows, group.draw, {&target, 1});
      batch.groups.back().top_scores = 2;
      ++group.draw.index;
      for (size_t r = 0; r < group.rows.size(); ++r) group.rows[r].length += static_cast<int64_t>(tokens[r].size());
    }
    return batch;
  }

 private:
  struct Row {
    std::shared_ptr<const RotaryPlan> plan;
    std::vector<BlockId> blocks, ring;
    int64_t prompt = 0, length = 0;
  };
  struct Group {
    std::vector<Row> rows;
    BatchDraw draw;
  };

  static std::vector<TokenId> Prompt(int64_t n) {
    std::vector<TokenId> tokens;
    for (int64_t i = 0; i < n; ++i) tokens.push_back(static_cast<TokenId>(i * i * 31 % 6000));
    return tokens;
  }

  void Take(int64_t n, std::vector<BlockId>& blocks) {
    while (static_cast<int64_t>(blocks.size()) < n) blocks.push_back(next_block_++);
    ASSERT_LE(next_block_, geometry_.n_blocks);
  }

  const CacheGeometry geometry_;
  std::vector<Group> groups_;
  BlockId next_block_ = 0;
};

// Rows of all kinds: a long plain one, two far regimes, two groups of documents.
Script Everything(const CacheGeometry& geometry) {
  Script script(geometry);
  SamplingParams random;
  random.temperature = 1;
  SamplingParams cut = random;
  cut.top_p = 0.9f;
  cut.presence_penalty = 1;
  cut.logit_bias = {{3, 1.0f}};
  MergePolicy mean;
  mean.params.pooling = NbcePooling::kMean;
  script.Add(PlanOf(position::None()), {kLongPrompt}, random);
  script.Add(PlanOf(position::Rerope{32}), {100}, cut);
  script.Add(PlanOf(position::LeakyRerope{20, 4}), {50}, {});
  script.Add(PlanOf(position::None()), {3, 40, 30}, cut, MergePolicy());
  script.Add(PlanOf(position::SelfExtend{3, 16}), {3, 30}, {}, mean);
  return script;
}

void ExpectSameBits(float a, float b) {
  EXPECT_EQ(std::memcmp(&a, &b, sizeof(a)), 0) << a << " and " << b;
}

void ExpectSame(const std::vector<TokenLogprob>& a, const std::vector<TokenLogprob>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].id, b[i].id);
    ExpectSameBits(a[i].logprob, b[i].logprob);
  }
}

void ExpectSame(const StepResult& a, const StepResult& b) {
  ASSERT_EQ(a.groups.size(), b.groups.size());
  for (size_t g = 0; g < a.groups.size(); ++g) {
    SCOPED_TRACE(testing::Message() << "group " << g);
    const GroupResult &x = a.groups[g], &y = b.groups[g];
    EXPECT_EQ(x.drawn.id, y.drawn.id);
    ExpectSameBits(x.drawn.logprob, y.drawn.logprob);
    ExpectSame(x.drawn.top, y.drawn.top);
    EXPECT_EQ(x.choice.row, y.choice.row);
    EXPECT_EQ(x.choice.fell_back, y.choice.fell_back);
    ASSERT_EQ(x.choice.entropies.size(), y.choice.entropies.size());
    for (size_t i = 0; i < x.choice.entropies.size(); ++i) ExpectSameBits(x.choice.entropies[i], y.choice.entropies[i]);
    ASSERT_EQ(x.scores.size(), y.scores.size());
    for (size_t i = 0; i < x.scores.size(); ++i) {
      ExpectSameBits(x.scores[i].logprob, y.scores[i].logprob);
      ExpectSame(x.scores[i].top, y.scores[i].top);
    }
  }
}

class SingleRunnerMemoryTest : public testing::TestWithParam<ComputeType> {};
INSTANTIATE_TEST_SUITE_P(, SingleRunnerMemoryTest,
                         testing::Values(ComputeType::kF32, ComputeType::kBf16, ComputeType::kInt8),
                         [](const auto& test) { return std::string(Name(test.param)); });

// A decode step takes no large memory once the first ones are done, and as many small pieces as the one before.
TEST_P(SingleRunnerMemoryTest, DecodeTakesNoLargeMemoryAndAlwaysAsManySmallPieces) {
  constexpr int64_t kLarge = 16 << 10, kMaxSmall = 200;
  const auto runner = MakeRunner(GetParam(), 1);
  Script script = Everything(runner->info().geometry);
  std::optional<int64_t> small;
  for (int step = 0; step < 30; ++step) {
    Batch batch = script.Next();
    CountAllocations(kLarge);
    const auto ticket = runner->Submit(std::move(batch));
    const auto result = runner->Collect(ticket.value());
    const AllocationCounts counts = StopCounting();
    ASSERT_TRUE(result.ok()) << result.status();
    if (step < 3) continue;
    EXPECT_EQ(counts.large, 0) << "step " << step;
    EXPECT_LE(counts.small, kMaxSmall);
    EXPECT_EQ(counts.small, small.value_or(counts.small)) << "step " << step;
    small = counts.small;
  }
}

// What the largest step needs is there from the start, but for the angles of a plan that nobody had asked for, and for
// what grows with the length of rows.
TEST_P(SingleRunnerMemoryTest, TheFirstLongPromptTakesNoLargeMemory) {
  constexpr int64_t kLarge = 64 << 10;
  const auto runner = MakeRunner(GetParam(), 1);
  for (int64_t prompt : {1, 340}) {
    Script script(runner->info().geometry);
    for (int i = 0; i < 3; ++i) script.Add(PlanOf(position::None()), {prompt}, {});
    Batch batch = script.Next();
    CountAllocations(kLarge);
    const auto ticket = runner->Submit(std::move(batch));
    const AllocationCounts counts = StopCounting();
    ASSERT_TRUE(ticket.ok()) << ticket.status();
    if (prompt > 1) {
      EXPECT_EQ(counts.large, 0);
    }
    ASSERT_TRUE(runner->Collect(*ticket).ok());
  }
}

// Steps are submitted with memory that ends ever later, until there was enough.
TEST_P(SingleRunnerMemoryTest, AStepThatFindsNoMemoryLeavesTheRunnerAsItWas) {
  constexpr int64_t kAllThatFollow = int64_t{1} << 40;
  for (const int64_t count : {int64_t{1}, kAllThatFollow}) {
    const auto expected = MakeRunner(GetParam(), 2), runner = MakeRunner(GetParam(), 2);
    Script script = Everything(runner->info().geometry);
    for (int step = 0; step < 5; ++step) {
      SCOPED_TRACE(testing::Message() << "step " << step << ", failing " << count);
      const Batch batch = script.Next();
      const StepResult wanted = expected->Collect(expected->Submit(batch).value()).value();
      int64_t tried = 0;
      absl::StatusOr<Ticket> ticket = absl::UnknownError("");
      while (!ticket.ok()) {
        Batch copy = batch;
        FailAllocations(tried++, count);
        ticket = runner->Submit(std::move(copy));
        const int64_t failed = RestoreAllocations();
        EXPECT_EQ(failed == 0, ticket.ok());
        if (!ticket.ok()) {
          ASSERT_EQ(ticket.status(), OutOfMemoryError());
        }
      }
      EXPECT_GT(tried, 20);
      FailAllocations(0, kAllThatFollow);
      absl::StatusOr<StepResult> result = runner->Collect(*ticket);
      RestoreAllocations();
      ASSERT_TRUE(result.ok()) << result.status();
      ExpectSame(*result, wanted);
      EXPECT_EQ(runner->transformer().ReadLogits(), expected->transformer().ReadLogits());
    }
  }
}

}  // namespace
}  // namespace longhaul
