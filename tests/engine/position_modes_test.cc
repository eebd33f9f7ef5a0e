// Position modes in the engine: identities between them, on the default model, and that how a row is read changes no
// bit of it, whatever its mode and the modes beside it, on a small one.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/cache/block_pool.h"
#include "engine/model/model_file.h"
#include "engine/model/single_runner.h"
#include "engine/position/position_resolver.h"
#include "engine/scheduling/sequence.h"
#include "tests/support/hand_batch.h"
#include "tests/support/small_model.h"
#include "tests/support/test_model.h"

namespace longhaul {
namespace {

constexpr int64_t kTrained = 128;  // pretended, so that short texts are long ones
constexpr int64_t kScored = 64;    // last tokens of a text

const ModelFile& DefaultModel() {
  static const ModelFile* const model = new ModelFile(LoadModelFile(TestModelPath()).value());
  return *model;
}

const ModelFile& SmallModel() {
  static const ModelFile* const model = new ModelFile(LoadModelFile(SmallModelPath()).value());
  return *model;
}

// Words of no meaning: the same in every run.
std::vector<TokenId> Text(int64_t n) {
  std::vector<TokenId> ids;
  uint32_t state = 1;
  while (static_cast<int64_t>(ids.size()) < n) {
    state = state * 1664525 + 1013904223;
    // A phrase that comes again now and then, so that distant keys matter.
    ids.push_back(ids.size() > 40 && state >> 30 == 0 ? ids[ids.size() - 37]
                                                      : 500 + static_cast<TokenId>((state >> 8) % 5000));
  }
  return ids;
}

std::unique_ptr<SingleRunner> MakeRunner(const ModelFile& model, ComputeType compute, CacheType cache) {
  SingleRunnerOptions options;
  options.backend.compute_type = compute;
  options.backend.cache_type = cache;
  options.kv_cache_bytes = int64_t{1} << 30;
  options.limits.max_tokens = 1024;
  options.limits.max_logit_rows = 1024;
  return SingleRunner::Create(model, options).value();
}

RotaryPlan PlanOf(const ModelFile& model, PositionMode mode, int64_t length) {
  const auto resolver = PositionResolver::Create(model.config.rotation, {.kind = position::Rerope()}, 0);
  EXPECT_TRUE(resolver.ok()) << resolver.status();
  if (mode.trained_length == 0) mode.trained_length = kTrained;
  mode.allow_beyond_reach = true;
  auto resolved = resolver->Resolve(mode, length);
  EXPECT_TRUE(resolved.ok()) << resolved.status();
  return resolved.ok() ? resolved->plan : RotaryPlan();
}

// Reads `ids` once for each plan, all rows side by side, `chunk` tokens of each in a step; the log-probabilities of the
// last kScored tokens, a vector a plan.
std::vector<std::vector<float>> Read(SingleRunner& runner, const std::vector<TokenId>& ids,
                                     const std::vector<RotaryPlan>& plans, int64_t chunk) {
  const auto n = static_cast<int64_t>(ids.size());
  BlockPool pool(runner.info().geometry);
  std::vector<Sequence> rows;
  for (const RotaryPlan& plan : plans) {
    rows.emplace_back(ids, std::make_shared<const RotaryPlan>(plan), pool).Reserve(n, n);
  }
  std::vector<std::vector<float>> scores(plans.size());
  for (int64_t begin = 0; begin < n - 1; begin += chunk) {
    const int64_t n_new = std::min(chunk, n - 1 - begin), first = std::max(n - 1 - kScored, begin);
    Batch batch;
    for (const Sequence& row : rows) {
      const auto part = [&](int64_t from, int64_t to) {
        return std::span(ids).subspan(static_cast<size_t>(from), static_cast<size_t>(std::max<int64_t>(0, to - from)));
      };
      AddGroup(batch,
               {{part(begin, begin + n_new), begin, row.blocks.blocks(), row.ring.blocks(), begin > 0, row.plan}}, {},
               part(first + 1, begin + n_new + 1));
    }
    const StepResult result = runner.Collect(runner.Submit(std::move(batch)).value()).value();
    for (size_t r = 0; r < rows.size(); ++r) {
      for (const TokenScore& score : result.groups[r].scores) scores[r].push_back(score.logprob);
    }
  }
  return scores;
}

std::vector<float> ReadAlone(SingleRunner& runner, const std::vector<TokenId>& ids, const RotaryPlan& plan) {
  return Read(runner, ids, {plan}, static_cast<int64_t>(ids.size()))[0];
}

// One of every mode, none of which is the plain plan.
std::vector<PositionMode> EveryMode() {
  std::vector<double> divisors;
  for (int i = 0; i < 32; ++i) divisors.push_back(1 + 0.1 * i);
  std::vector<PositionMode> modes = {{.kind = position::None()},           {.kind = position::Linear{4}},
                                     {.kind = position::Ntk{4}},           {.kind = position::NtkFixed{4}},
                                     {.kind = position::BetaMixed{4}},     {.kind = position::Yarn{4}},
                                     {.kind = position::Llama3{4}},        {.kind = position::PerPair{divisors}},
                                     {.kind = position::Rerope{64}},       {.kind = position::LeakyRerope{32, 8}},
                                     {.kind = position::SelfExtend{8, 48}}};
  modes.push_back(modes[8]);
  modes.back().log_n = position::LogNSwitch{};
  return modes;
}

struct Types {
  ComputeType compute;
  CacheType cache;
};

class PositionModesTest : public ::testing::TestWithParam<Types> {};

TEST_P(PositionModesTest, HowARowIsReadChangesNoBit) {
  const auto runner = MakeRunner(SmallModel(), GetParam().compute, GetParam().cache);
  // Past the border of a range of keys; token by token a shorter one.
  for (const auto& [n, chunks] : std::vector<std::pair<int64_t, std::vector<int64_t>>>{{530, {7, 64}}, {300, {1}}}) {
    const std::vector<TokenId> ids = Text(n);
    std::vector<RotaryPlan> plans;
    for (const PositionMode& mode : EveryMode()) plans.push_back(PlanOf(SmallModel(), mode, n));
    std::vector<std::vector<float>> expected;
    for (const RotaryPlan& plan : plans) expected.push_back(ReadAlone(*runner, ids, plan));
    for (int64_t chunk : chunks) EXPECT_EQ(Read(*runner, ids, plans, chunk), expected) << "chunks of " << chunk;
    if (n > 512) {
      for (size_t i = 0; i < plans.size(); ++i) {
        EXPECT_EQ(Read(*runner, ids, {plans[i]}, 512)[0], expected[i]) << "chunks of 512, mode " << i;
      }
    }
    // Every mode is another function of the text.
    for (size_t i = 0; i < expected.size(); ++i) {
      for (size_t j = 0; j < i; ++j) EXPECT_NE(expected[i], expected[j]) << i << " and " << j;
    }
  }
}

// In f32 no rounding of a product hides a bit.
INSTANTIATE_TEST_SUITE_P(, PositionModesTest,
                         ::testing::Values(Types{ComputeType::kF32, CacheType::kF32},
                                           Types{ComputeType::kInt8, CacheType::kBf16},
                                           Types{ComputeType::kF32, CacheType::kF16}),
                         [](const auto& types) {
                           return std::string(Name(types.param.compute)) + "_" + std::string(Name(types.param.cache));
                         });

class IdentitiesTest : public ::testing::Test {
 protected:
  static constexpr int64_t kLength = 300;

  std::vector<float> Scores(const PositionMode& mode) {
    return ReadAlone(*runner_, ids_, PlanOf(DefaultModel(), mode, kLength));
  }

  void ExpectNear(const PositionMode& a, const PositionMode& b, double bound) {
    const std::vector<float> x = Scores(a), y = Scores(b);
    ASSERT_EQ(x.size(), y.size());
    double worst = 0;
    for (size_t i = 0; i < x.size(); ++i) worst = std::max(worst, std::abs(static_cast<double>(x[i] - y[i])));
    EXPECT_LE(worst, bound);
  }

  const std::vector<TokenId> ids_ = Text(kLength);
  const std::unique_ptr<SingleRunner> runner_ = MakeRunner(DefaultModel(), ComputeType::kF32, CacheType::kF32);
};

TEST_F(IdentitiesTest, FactorOneOfAnythingIsThePlainPlan) {
  const Fingerprint plain = PlanOf(DefaultModel(), {.kind = position::None()}, kLength).fingerprint;
  const PositionMode modes[] = {{.kind = position::Linear{1}},
                                {.kind = position::Ntk{1}},
                                {.kind = position::Ntk{1, position::Ntk::Variant::kRadix}},
                                {.kind = position::NtkFixed{1}},
                                {.kind = position::BetaMixed{1}},
                                {.kind = position::Yarn{1}},
                                {.kind = position::Yarn{.factor = 1, .ramp = position::Yarn::Ramp::kTurns}},
                                {.kind = position::Llama3{1}},
                                {.kind = position::PerPair{std::vector<double>(32, 1)}},
                                {.kind = position::LeakyRerope{64, 1}},
                                {.kind = position::SelfExtend{1, 64}}};
  for (const PositionMode& mode : modes)
    EXPECT_EQ(PlanOf(DefaultModel(), mode, kLength).fingerprint, plain) << Name(mode);
  // log-n within its trained length multiplies by 1.
  PositionMode log_n{.kind = position::None()};
  log_n.log_n = position::LogNSwitch{kLength};
  EXPECT_EQ(Scores(log_n), Scores({.kind = position::None()}));
}

TEST_F(IdentitiesTest, AWindowThatHoldsTheTextIsThePlainPlan) {
  ExpectNear({.kind = position::Rerope{kLength}}, {.kind = position::None()}, 1e-4);
  ExpectNear({.kind = position::LeakyRerope{kLength, 8}}, {.kind = position::None()}, 1e-4);
  ExpectNear({.kind = position::SelfExtend{8, kLength}}, {.kind = position::None()}, 1e-4);
}

TEST_F(IdentitiesTest, AHugeStepIsRerope) {
  ExpectNear({.kind = position::LeakyRerope{64, int64_t{1} << 40}}, {.kind = position::Rerope{64}}, 1e-4);
}

TEST_F(IdentitiesTest, BetaMixedHoldsTwoOthers) {
  ExpectNear({.kind = position::BetaMixed{4, 1}}, {.kind = position::NtkFixed{4}}, 1e-4);
  ExpectNear({.kind = position::BetaMixed{4, 0}}, {.kind = position::Linear{4}}, 1e-4);
}

}  // namespace
}  // namespace longhaul
