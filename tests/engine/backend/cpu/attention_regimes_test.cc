// Attention of plans with two regimes, near and far, and of any position mode that a request may ask for.

#include <algorithm>
#include <optional>
#include <random>
#include <utility>
#include <vector>

#include "engine/position/position_resolver.h"
#include "gtest/gtest.h"
#include "tests/engine/backend/cpu/attention_reader.h"
#include "tests/engine/backend/cpu/each_instruction_set.h"

namespace longhaul::cpu {
namespace {

using AttentionRegimesTest = EachInstructionSet;
INSTANTIATE_TEST_SUITE_P(, AttentionRegimesTest, testing::ValuesIn(AvailableInstructionSets()), InstructionSetTestName);

RotaryPlan TwoRegimes(const Geometry& g, const FarRegime& far, std::optional<LogN> log_n = std::nullopt) {
  RotaryPlan plan = Plan(g, 10000, 1);
  plan.far = far;
  plan.log_n = log_n;
  SetFingerprint(plan);
  return plan;
}

// Windows at, below and above the borders of blocks, tiles and ranges; all kinds of far regimes.
std::vector<RotaryPlan> FarPlans(const Geometry& g) {
  const auto with = [&](int64_t window, int64_t divisor, bool floor, double offset, std::optional<LogN> log_n = {}) {
    return TwoRegimes(g, {window, divisor, floor, offset}, log_n);
  };
  return {with(1, 0, false, 1),
          with(16, 0, false, 16),
          with(100, 0, false, 100, LogN{64}),
          with(513, 0, false, 513),
          with(5000, 0, false, 5000),
          with(64, 8, false, 56),
          with(17, 2, false, 8.5),
          with(100, 8, true, 100 - 100 / 8.0),
          with(33, 3, true, 22)};
}

TEST_P(AttentionRegimesTest, OfTwoRegimesIsThatOfDoublesInRaggedBatches) {
  const Geometry geometries[] = {{9, 3, 64, 64, CacheType::kF32},
                                 {9, 3, 64, 32, CacheType::kBf16},
                                 {8, 1, 80, 80, CacheType::kF16},
                                 {4, 2, 20, 12, CacheType::kF32}};
  for (const Geometry& g : geometries) {
    SCOPED_TRACE(testing::Message() << "head_dim " << g.head_dim << ", cache " << static_cast<int>(g.type));
    std::vector<RotaryPlan> plans = FarPlans(g);
    plans.push_back(Plan(g, 10000, 1));
    for (size_t first = 0; first < plans.size(); first += 5) {
      Reader reader(g, 2);
      std::vector<std::vector<float>> rows;
      std::vector<std::pair<size_t, int64_t>> all;
      for (size_t i = first; i < first + 5; ++i) {
        const int64_t length = i % 2 == 0 ? 300 : LongLength();
        rows.push_back(RandomQkv(g, length, static_cast<uint32_t>(i)));
        all.emplace_back(reader.AddRow(rows.back(), plans[i]), length);
      }
      reader.Step(all);
      for (size_t i = 0; i < rows.size(); ++i) {
        EXPECT_LT(LargestError(g, rows[i], plans[first + i], reader.Out(i)), 1e-5) << "plan " << first + i;
      }
    }
  }
}

TEST_P(AttentionRegimesTest, OfTwoRegimesIsTheSameToTheBitHoweverARowIsRead) {
  const Geometry geometries[] = {
      {9, 3, 64, 48, CacheType::kF32}, {2, 2, 20, 20, CacheType::kF16}, {9, 3, 64, 64, CacheType::kBf16}};
  for (const Geometry& g : geometries) {
    for (const RotaryPlan& plan : FarPlans(g)) {
      SCOPED_TRACE(testing::Message() << "head_dim " << g.head_dim << ", window " << plan.far->window << ", divisor "
                                      << plan.far->divisor);
      const std::vector<float> qkv = RandomQkv(g, 600, 7);
      Reader one_shot(g, 1);
      const std::vector<float> expected = one_shot.ReadAll(one_shot.AddRow(qkv, plan), 600);
      for (int64_t chunk : {1, 7, 64, 130}) {
        Reader reader(g, 2);
        EXPECT_EQ(reader.ReadAll(reader.AddRow(qkv, plan), chunk), expected) << "chunks of " << chunk;
      }
      // Random chunks beside plain rows, and a ring that is lost now and then.
      Reader reader(g, 2);
      const RotaryPlan other = Plan(g, 20000, 2);
      const size_t row = reader.AddRow(qkv, plan);
      std::mt19937 random(3);
      while (reader.Left(row) > 0) {
        const int64_t n = std::min(reader.Left(row), random() % 3 == 0 ? 1 : 1 + static_cast<int64_t>(random() % 150));
        if (random() % 3 == 0) reader.LoseRing(row);
        const int64_t mate = 1 + static_cast<int64_t>(random() % 20);
        reader.Step({{reader.AddRow(RandomQkv(g, mate, static_cast<uint32_t>(random())), other), mate}, {row, n}});
      }
      EXPECT_EQ(reader.Out(row), expected) << "with lost rings";
    }
  }
}

// Any mode with any parameters, as a request might ask for it.
PositionMode RandomMode(std::mt19937& random) {
  const auto below = [&](int64_t n) { return static_cast<int64_t>(random() % static_cast<uint64_t>(n)); };
  const double factor = 1 + static_cast<double>(below(80)) / 10;
  const int64_t window = 1 + below(500);
  PositionMode mode;
  switch (below(8)) {
    case 0:
      mode.kind = position::None();
      break;
    case 1:
      mode.kind = position::BetaMixed{factor, static_cast<double>(below(11)) / 10};
      break;
    case 2:
      mode.kind = position::Yarn{factor};
      break;
    case 3:
      mode.kind = position::Llama3{factor};
      break;
    case 4:
    case 5:
      mode.kind = position::Rerope{window};
      break;
    case 6:
      mode.kind = position::LeakyRerope{window, 1 + below(20)};
      break;
    default:
      mode.kind = position::SelfExtend{1 + below(20), window};
  }
  if (below(3) == 0) mode.log_n = position::LogNSwitch{};
  mode.trained_length = 64 + below(400);
  mode.allow_beyond_reach = true;
  return mode;
}

TEST_P(AttentionRegimesTest, OfRandomModesInRandomBatchesIsThatOfTheNaiveReference) {
  const Geometry geometries[] = {
      {6, 2, 32, 32, CacheType::kF32}, {6, 2, 32, 20, CacheType::kBf16}, {3, 3, 48, 48, CacheType::kF16}};
  std::mt19937 random(11);
  for (int round = 0; round < 6; ++round) {
    const Geometry& g = geometries[round % 3];
    ModelRotation rotation;
    rotation.rotary_dims = g.rotary_dims;
    rotation.trained_length = 128;
    const auto resolver = PositionResolver::Create(rotation, DefaultLongMode(), 0).value();
    Reader reader(g, 2);
    std::vector<RotaryPlan> plans;
    std::vector<std::vector<float>> rows;
    for (int row = 0; row < 5; ++row) plans.push_back(resolver.Resolve(RandomMode(random), 700)->plan);
    for (const RotaryPlan& plan : plans) {
      rows.push_back(RandomQkv(g, 1 + static_cast<int64_t>(random() % 700), static_cast<uint32_t>(random())));
      reader.AddRow(rows.back(), plan);
    }
    // Rows come and go, in chunks of any length.
    for (bool any_left = true; any_left;) {
      std::vector<std::pair<size_t, int64_t>> work;
      any_left = false;
      for (size_t row = 0; row < rows.size(); ++row) {
        const int64_t left = reader.Left(row), most = random() % 2 == 0 ? 3 : 200;
        any_left = any_left || left > 0;
        if (left > 0 && random() % 4 != 0) {
          work.emplace_back(row, std::min(left, 1 + static_cast<int64_t>(random() % static_cast<uint64_t>(most))));
        }
      }
      if (!work.empty()) reader.Step(work);
    }
    for (size_t row = 0; row < rows.size(); ++row) {
      EXPECT_LT(LargestError(g, rows[row], plans[row], reader.Out(row)), 1e-5) << "round " << round << ", row " << row;
    }
  }
}

}  // namespace
}  // namespace longhaul::cpu
