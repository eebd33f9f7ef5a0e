// The engine against the goldens of forward.py on the default model: likelihoods, largest logits, greedy continuations.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/base/instruction_set.h"
#include "engine/cache/block_table.h"
#include "engine/model/model_file.h"
#include "engine/model/model_runner.h"
#include "tests/support/test_model.h"

namespace longhaul {
namespace {

constexpr int64_t kChunk = 512;  // tokens of a step

nlohmann::json ReadGolden(const std::string& name) {
  std::ifstream file(SourcePath("tests/oracle/goldens/" + name + ".json"));
  return nlohmann::json::parse(file);
}

const ModelFile& TestModel() {
  static const ModelFile* model = [] {
    auto loaded = LoadModelFile(TestModelPath());
    if (!loaded.ok()) {
      std::fprintf(stderr, "%s\n", std::string(loaded.status().message()).c_str());
      std::exit(1);
    }
    return new ModelFile(*std::move(loaded));
  }();
  return *model;
}

// Absolute differences from the golden values.
class Differences {
 public:
  void Add(double value, double golden) {
    // A NaN counts as infinitely far.
    const double difference = std::isnan(value) ? INFINITY : std::abs(value - golden);
    sum_ += difference;
    max_ = std::max(max_, difference);
    ++n_;
  }
  double mean() const { return sum_ / n_; }
  double max() const { return max_; }
  int n() const { return n_; }

 private:
  double sum_ = 0, max_ = 0;
  int n_ = 0;
};

struct Bound {
  double mean, max;
};

// One request on a runner of its own, step by step.
class Row {
 public:
  explicit Row(ModelRunner& runner) : runner_(runner), pool_(runner.n_blocks()), blocks_(pool_) {
    plan_ = *PlainPlan(TestModel().config.rotation);
  }

  // Appends `tokens` (at most kChunk). `targets`: what to score after each of them; empty: sample after the last.
  StepResult Step(const std::vector<TokenId>& tokens, const std::vector<TokenId>& targets,
                  const SamplerInput* sampler) {
    const auto n = static_cast<int64_t>(tokens.size());
    blocks_.Reserve(length_ + n);
    Batch batch;
    batch.tokens = tokens;
    for (int64_t i = 0; i < n; ++i) batch.positions.push_back(length_ + i);
    batch.row_of.assign(tokens.size(), 0);
    BatchRow row;
    row.block_table = blocks_.blocks();
    row.length = length_;
    row.n_new = n;
    row.first_logit = targets.empty() ? n - 1 : 0;
    batch.rows = {row};
    batch.groups = {BatchGroup{.first_row = 0, .n_rows = 1, .sampler = sampler}};
    batch.plans = {&plan_};
    batch.targets = targets;
    length_ += n;
    auto ticket = runner_.Step(batch);
    if (!ticket.ok()) return Failed(ticket.status());
    auto result = runner_.Collect(*ticket);
    return result.ok() ? *std::move(result) : Failed(result.status());
  }

 private:
  static StepResult Failed(const absl::Status& status) {
    ADD_FAILURE() << status;
    return {};
  }

  ModelRunner& runner_;
  BlockPool pool_;
  BlockTable blocks_;
  RotaryPlan plan_;
  int64_t length_ = 0;
};

struct Case {
  InstructionSet instruction_set;
  ComputeType compute;
  CacheType cache;
  std::vector<std::string> texts;
};

// Per token, in nats (tests/oracle/README.md has what the roundings alone come to).
Bound BoundOf(const Case& c) {
  if (c.compute == ComputeType::kInt8) return {8e-2, 1.0};
  if (c.compute == ComputeType::kBf16) return {3e-2, 0.3};
  if (c.cache == CacheType::kBf16) return {1e-2, 0.1};
  // One token of 2,000 comes to 2.1e-2; the 600 stay below 5e-3.
  if (c.cache == CacheType::kF16) return {2e-3, 2.5e-2};
  return {1e-4, 5e-3};
}

std::unique_ptr<ModelRunner> MakeRunner(const Case& c) {
  ModelRunnerOptions options;
  options.compute_type = c.compute;
  options.cache_type = c.cache;
  options.kv_cache_bytes = int64_t{128} << 20;
  options.limits.max_tokens = kChunk;
  options.limits.max_logit_rows = kChunk;
  auto runner = ModelRunner::Create(TestModel(), options);
  EXPECT_TRUE(runner.ok()) << runner.status();
  return runner.ok() ? *std::move(runner) : nullptr;
}

class OracleTest : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override { UseInstructionSet(GetParam().instruction_set); }
  void TearDown() override { UseInstructionSet(DetectInstructionSet()); }
};

// What the engine computed for a text, held against its golden.
struct Comparison {
  Differences nll, logits, log_sum_exp;
};

void CompareLogits(const nlohmann::json& golden, const float* logits, size_t vocabulary, Comparison& comparison) {
  const double largest = *std::max_element(logits, logits + vocabulary);
  double sum = 0;
  for (size_t i = 0; i < vocabulary; ++i) sum += std::exp(logits[i] - largest);
  comparison.log_sum_exp.Add(largest + std::log(sum), golden["log_sum_exp"]);
  for (size_t i = 0; i < golden["ids"].size(); ++i) {
    comparison.logits.Add(logits[golden["ids"][i].get<size_t>()], golden["values"][i]);
  }
}

Comparison Compare(ModelRunner& runner, const nlohmann::json& golden) {
  Comparison comparison;
  Row row(runner);
  const auto ids = golden["ids"].get<std::vector<TokenId>>();
  const auto n = static_cast<int64_t>(ids.size());
  const auto vocabulary = static_cast<size_t>(TestModel().config.vocabulary_size);
  for (int64_t begin = 0; begin < n; begin += kChunk) {
    const int64_t end = std::min(n, begin + kChunk);
    std::vector<TokenId> targets(ids.begin() + begin + 1, ids.begin() + std::min(n, end + 1));
    if (end == n) targets.push_back(0);  // nothing follows the last token: any id, its score is left out
    const StepResult result = row.Step({ids.begin() + begin, ids.begin() + end}, targets, nullptr);
    if (result.scores.size() != targets.size()) {
      ADD_FAILURE() << result.scores.size() << " scores of " << targets.size() << " targets";
      return comparison;
    }
    for (int64_t i = begin; i < std::min(end, n - 1); ++i) {
      comparison.nll.Add(-result.scores[static_cast<size_t>(i - begin)].logprob, golden["nll"][static_cast<size_t>(i)]);
    }
    const std::vector<float> logits = runner.transformer().ReadLogits();
    for (const auto& at : golden["logits"]) {
      const auto position = at["position"].get<int64_t>();
      if (position < begin || position >= end) continue;
      CompareLogits(at, logits.data() + static_cast<size_t>(position - begin) * vocabulary, vocabulary, comparison);
    }
  }
  return comparison;
}

TEST_P(OracleTest, LikelihoodsAndLogitsAreThoseOfTheOracle) {
  const auto runner = MakeRunner(GetParam());
  ASSERT_NE(runner, nullptr);
  const Bound bound = BoundOf(GetParam());
  double sum = 0, tokens = 0;
  for (const std::string& text : GetParam().texts) {
    const Comparison c = Compare(*runner, ReadGolden(text));
    std::printf("%-6s nll mean %.1e max %.1e | logits mean %.1e max %.1e | log-sum-exp max %.1e\n", text.c_str(),
                c.nll.mean(), c.nll.max(), c.logits.mean(), c.logits.max(), c.log_sum_exp.max());
    sum += c.nll.mean() * c.nll.n();
    tokens += c.nll.n();
    EXPECT_LE(c.nll.max(), bound.max) << text;
    // A logit by itself moves more than a likelihood, in which a common shift of all logits cancels.
    EXPECT_LE(c.logits.max(), 2 * bound.max) << text;
    EXPECT_LE(c.log_sum_exp.max(), 2 * bound.max) << text;
  }
  // Over all texts: the short one's 29 tokens alone say little.
  EXPECT_LE(sum / tokens, GetParam().texts.size() > 1 ? bound.mean : 1.25 * bound.mean);
}

std::vector<Case> Cases() {
  const std::vector<std::pair<ComputeType, CacheType>> types = {
      {ComputeType::kF32, CacheType::kF32},  {ComputeType::kF32, CacheType::kF16},
      {ComputeType::kF32, CacheType::kBf16}, {ComputeType::kBf16, CacheType::kF32},
      {ComputeType::kInt8, CacheType::kF32},
  };
  std::vector<Case> cases;
  for (InstructionSet set : {InstructionSet::kPortable, InstructionSet::kAvx2, InstructionSet::kAvx512}) {
    if (set > DetectInstructionSet()) continue;
    for (const auto& [compute, cache] : types) {
      cases.push_back({set, compute, cache,
                       set == DetectInstructionSet() ? std::vector<std::string>{"short", "medium", "long"}
                                                     : std::vector<std::string>{"short"}});
    }
  }
  return cases;
}

std::string CaseName(const ::testing::TestParamInfo<Case>& info) {
  return std::string(InstructionSetName(info.param.instruction_set)) + "_" + std::string(Name(info.param.compute)) +
         "_cache_" + std::string(Name(info.param.cache));
}

INSTANTIATE_TEST_SUITE_P(, OracleTest, ::testing::ValuesIn(Cases()), CaseName);

// Roundings may choose another token only where the oracle's two best were nearly equal.
TEST(GreedyTest, ContinuationsAreThoseOfTheOracleUpToTheFirstSmallMargin) {
  const auto runner = MakeRunner({DetectInstructionSet(), ComputeType::kF32, CacheType::kF32, {}});
  ASSERT_NE(runner, nullptr);
  const nlohmann::json golden = ReadGolden("greedy");
  for (const auto& continuation : golden["continuations"]) {
    const auto expected = continuation["tokens"].get<std::vector<TokenId>>();
    Row row(*runner);
    std::vector<TokenId> next = continuation["ids"], tokens;
    size_t agreed = 0;
    while (agreed < expected.size() && continuation["margins"][agreed] >= golden["small_margin"]) ++agreed;
    ASSERT_GE(agreed, 32u) << continuation["text"];
    SamplerInput greedy;
    for (greedy.index = 0; greedy.index < agreed; ++greedy.index) {
      const StepResult result = row.Step(next, {}, &greedy);
      ASSERT_EQ(result.groups.size(), 1u);
      tokens.push_back(result.groups[0].id);
      next = {tokens.back()};
      ASSERT_EQ(tokens.back(), expected[greedy.index]) << "token " << greedy.index << " after " << continuation["text"];
    }
  }
}

}  // namespace
}  // namespace longhaul
