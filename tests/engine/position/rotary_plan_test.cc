#include "engine/position/rotary_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace longhaul {
namespace {

using Scaling = ModelRotation::Scaling;

// SmolLM2-135M.
ModelRotation SmolLm2() {
  ModelRotation rotation;
  rotation.rotary_dims = 64;
  rotation.base = 100000;
  rotation.trained_length = 8192;
  return rotation;
}

ModelRotation Scaled(Scaling scaling, double factor) {
  ModelRotation rotation = SmolLm2();
  rotation.scaling = scaling;
  rotation.factor = factor;
  rotation.original_length = rotation.trained_length;
  rotation.trained_length *= static_cast<int64_t>(factor);
  return rotation;
}

RotaryPlan Plan(const ModelRotation& rotation) {
  auto plan = PlainPlan(rotation);
  EXPECT_TRUE(plan.ok()) << plan.status();
  return plan.ok() ? *plan : RotaryPlan{};
}

// Compares the pairs 0, 1, 8, 16, 20 and 31 with published or independently computed values.
void ExpectFrequencies(const RotaryPlan& plan, const std::vector<double>& golden) {
  const std::vector<size_t> pairs = {0, 1, 8, 16, 20, 31};
  ASSERT_EQ(plan.inv_freq.size(), 32u);
  for (size_t i = 0; i < pairs.size(); ++i) {
    EXPECT_NEAR(plan.inv_freq[pairs[i]] / golden[i], 1, 1e-8) << "pair " << pairs[i];
  }
}

TEST(PlainPlan, HasTheModelsOwnFrequencies) {
  const RotaryPlan plan = Plan(SmolLm2());
  ExpectFrequencies(plan, {1, 0.697830585, 0.0562341325, 0.00316227766, 0.000749894209, 1.43301257e-05});
  EXPECT_EQ(plan.query_scale, 1);
}

TEST(PlainPlan, HonoursDeclaredLinearScaling) {
  const RotaryPlan plan = Plan(Scaled(Scaling::kLinear, 4));
  ExpectFrequencies(plan, {0.25, 0.174457646, 0.0140585331, 0.000790569415, 0.000187473552, 3.58253143e-06});
  EXPECT_EQ(plan.query_scale, 1);
}

TEST(PlainPlan, HonoursDeclaredYarnWithTheRampOverThePairIndex) {
  ModelRotation rotation = Scaled(Scaling::kYarn, 4);
  const RotaryPlan plan = Plan(rotation);
  ExpectFrequencies(plan, {1, 0.697830585, 0.0562341325, 0.00173925271, 0.000187473552, 3.58253143e-06});
  EXPECT_NEAR(plan.query_scale, 1.13862944 * 1.13862944, 1e-8);
  rotation.attention_factor = 0.5;
  EXPECT_NEAR(Plan(rotation).query_scale, 1.13862944 * 1.13862944 / 4, 1e-8);
}

TEST(PlainPlan, DividesByThePairFactors) {
  ModelRotation rotation = SmolLm2();
  rotation.pair_factors.assign(32, 1);
  EXPECT_EQ(Plan(rotation).inv_freq, Plan(SmolLm2()).inv_freq);
  rotation.pair_factors[20] = 8;
  ExpectFrequencies(Plan(rotation), {1, 0.697830585, 0.0562341325, 0.00316227766, 0.000749894209 / 8, 1.43301257e-05});
}

TEST(PlainPlan, NamesWhatMakesNoSense) {
  const double infinity = std::numeric_limits<double>::infinity();
  struct Case {
    std::function<void(ModelRotation&)> spoil;
    std::string message;
  };
  const Case cases[] = {
      {[](ModelRotation& r) { r.rotary_dims = 0; }, "rotary dimensions 0"},
      {[](ModelRotation& r) { r.rotary_dims = 63; }, "rotary dimensions 63"},
      {[](ModelRotation& r) { r.rotary_dims = -2; }, "rotary dimensions -2"},
      {[](ModelRotation& r) { r.base = 1; }, "rotary base 1"},
      {[](ModelRotation& r) { r.base = std::nan(""); }, "rotary base nan"},
      {[=](ModelRotation& r) { r.base = infinity; }, "rotary base inf"},
      {[](ModelRotation& r) { r.scaling = Scaling::kLinear, r.factor = 0.5; }, "factor 0.5"},
      {[](ModelRotation& r) { r.scaling = Scaling::kYarn, r.factor = std::nan(""); }, "factor nan"},
      {[](ModelRotation& r) { r.attention_factor = 0; }, "attention factor 0"},
      {[](ModelRotation& r) { r.trained_length = 0; }, "trained length 0"},
      {[](ModelRotation& r) { r.pair_factors.assign(31, 1); }, "31 values, expected 32"},
      {[](ModelRotation& r) { r.pair_factors.assign(32, 0); }, "every factor must be positive"},
      {[](ModelRotation& r) { r.long_factors.assign(33, 1); }, "rope_factors_long.weight has 33 values, expected 32"},
      {[](ModelRotation& r) { r.long_factors.assign(32, -1); }, "rope_factors_long.weight holds -1"},
  };
  for (const Case& c : cases) {
    ModelRotation rotation = SmolLm2();
    c.spoil(rotation);
    const auto plan = PlainPlan(rotation);
    ASSERT_EQ(plan.status().code(), absl::StatusCode::kInvalidArgument) << c.message;
    EXPECT_THAT(std::string(plan.status().message()), testing::HasSubstr(c.message));
  }
}

TEST(Fingerprint, IsOfTheNumbersAndNotOfTheReach) {
  const RotaryPlan plain = Plan(SmolLm2());
  ModelRotation longer = SmolLm2();
  longer.trained_length = 32768;
  EXPECT_EQ(Plan(longer).fingerprint, plain.fingerprint);

  EXPECT_NE(Plan(Scaled(Scaling::kLinear, 4)).fingerprint, plain.fingerprint);
  EXPECT_NE(Plan(Scaled(Scaling::kLinear, 8)).fingerprint, Plan(Scaled(Scaling::kLinear, 4)).fingerprint);
  RotaryPlan other = plain;
  other.query_scale = 1.5;
  SetFingerprint(other);
  EXPECT_NE(other.fingerprint, plain.fingerprint);
  other = plain;
  std::swap(other.inv_freq[3], other.inv_freq[4]);
  SetFingerprint(other);
  EXPECT_NE(other.fingerprint, plain.fingerprint);
}

TEST(Fingerprint, IsOfTheFarRegimeAndOfLogN) {
  std::set<Fingerprint> seen;
  const auto add = [&](std::optional<FarRegime> far, std::optional<LogN> log_n) {
    RotaryPlan plan = Plan(SmolLm2());
    plan.far = far;
    plan.log_n = log_n;
    SetFingerprint(plan);
    EXPECT_TRUE(seen.insert(plan.fingerprint).second);
  };
  add(std::nullopt, std::nullopt);
  add(FarRegime{1, 0, false, 0}, std::nullopt);
  add(FarRegime{2, 0, false, 0}, std::nullopt);
  add(FarRegime{1, 2, false, 0}, std::nullopt);
  add(FarRegime{1, 2, true, 0}, std::nullopt);
  add(FarRegime{1, 2, true, 0.5}, std::nullopt);
  add(std::nullopt, LogN{2});
  add(std::nullopt, LogN{3});
  add(FarRegime{1, 2, true, 0.5}, LogN{3});
}

}  // namespace
}  // namespace longhaul
