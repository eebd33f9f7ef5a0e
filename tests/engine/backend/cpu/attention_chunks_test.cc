// Attention with three regimes, which no position mode asks for yet: those of dual chunk attention (An et al. 2024,
// arXiv 2402.17463), made by hand.

#include <algorithm>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "engine/position/plan_angles.h"
#include "engine/position/rotary_table.h"
#include "gtest/gtest.h"
#include "tests/engine/backend/cpu/attention_reader.h"
#include "tests/engine/backend/cpu/each_instruction_set.h"

namespace longhaul::cpu {
namespace {

// Chunks of `chunk` tokens: key j turns by j mod chunk; a query at p by p mod chunk for keys of its own chunk, by
// min(p mod chunk + chunk, limit) for those of the one before, by 2 chunk - 1 at most `limit` for all others.
class ChunkAngles final : public PlanAngles {
 public:
  ChunkAngles(const RotaryPlan& plan, int64_t max_positions, int64_t chunk, int64_t limit)
      : PlanAngles(plan, max_positions), table_(plan.inv_freq, max_positions), chunk_(chunk), limit_(limit) {}

  int n_regimes() const override { return 3; }
  int64_t FirstKey(int regime, int64_t position) const override {
    return std::max<int64_t>(0, regime == 2 ? 0 : (position / chunk_ - regime) * chunk_);
  }
  bool turns_stored_keys() const override { return true; }
  bool has_near_keys() const override { return false; }
  void Query(int regime, int64_t position, float* cosines, float* sines) const override {
    const int64_t of_regime[] = {position % chunk_, std::min(position % chunk_ + chunk_, limit_),
                                 std::min(2 * chunk_ - 1, limit_)};
    table_.Angles(of_regime[regime], cosines, sines);
  }
  void StoredKey(int64_t position, float* cosines, float* sines) const override {
    table_.Angles(position % chunk_, cosines, sines);
  }

 private:
  RotaryTable table_;
  int64_t chunk_, limit_;
};

// Three regimes by distance, the nearest of which has keys of its own: with windows below a block all three meet in
// one.
class BandAngles final : public PlanAngles {
 public:
  // REQUIRES: the plan has a far regime; window <= second_window.
  BandAngles(const RotaryPlan& plan, int64_t max_positions, int64_t second_window)
      : PlanAngles(plan, max_positions), table_(plan.inv_freq, max_positions), second_window_(second_window) {}

  int n_regimes() const override { return 3; }
  int64_t FirstKey(int regime, int64_t position) const override {
    if (regime != 1) return PlanAngles::FirstKey(regime, position);
    return std::max<int64_t>(0, position - second_window_ + 1);
  }
  void Query(int regime, int64_t position, float* cosines, float* sines) const override {
    if (regime < 2) return PlanAngles::Query(regime, position, cosines, sines);
    table_.Angles(second_window_, cosines, sines);
  }

 private:
  RotaryTable table_;
  int64_t second_window_;
};

using AttentionChunksTest = EachInstructionSet;
INSTANTIATE_TEST_SUITE_P(, AttentionChunksTest, testing::ValuesIn(AvailableInstructionSets()), InstructionSetTestName);

struct Case {
  const char* name;
  RotaryPlan plan;
  Attention::MakeAngles make_angles;
};

std::vector<Case> Cases(const Geometry& g) {
  std::vector<Case> cases;
  for (const auto& [chunk, limit] : {std::pair(1, 2), {40, 48}, {513, 600}}) {
    cases.push_back({"chunks", Plan(g, 10000, 1), [chunk, limit](const RotaryPlan& plan, int64_t max_positions) {
                       return std::make_unique<const ChunkAngles>(plan, max_positions, chunk, limit);
                     }});
  }
  for (const auto& [window, second] : {std::pair(1, 3), {20, 70}, {100, 530}}) {
    RotaryPlan plan = Plan(g, 10000, 1);
    plan.far = {.window = window, .divisor = 0, .floor = false, .query_offset = static_cast<double>(window)};
    SetFingerprint(plan);
    cases.push_back({"bands", plan, [second](const RotaryPlan& p, int64_t max_positions) {
                       return std::make_unique<const BandAngles>(p, max_positions, second);
                     }});
  }
  return cases;
}

TEST_P(AttentionChunksTest, OfThreeRegimesIsThatOfDoublesAndTheSameToTheBitHoweverARowIsRead) {
  const Geometry geometries[] = {
      {9, 3, 64, 64, CacheType::kF32}, {9, 3, 64, 48, CacheType::kBf16}, {2, 2, 20, 12, CacheType::kF16}};
  for (const Geometry& g : geometries) {
    for (const Case& c : Cases(g)) {
      SCOPED_TRACE(testing::Message() << c.name << ", head_dim " << g.head_dim);
      const std::vector<float> qkv = RandomQkv(g, 600, 7);
      Reader one_shot(g, 1, c.make_angles);
      const std::vector<float> expected = one_shot.ReadAll(one_shot.AddRow(qkv, c.plan), 600);
      EXPECT_LT(LargestError(g, qkv, c.make_angles(c.plan, Reader::kPositions), expected), 1e-5);
      for (int64_t chunk : {1, 130}) {
        Reader reader(g, 2, c.make_angles);
        EXPECT_EQ(reader.ReadAll(reader.AddRow(qkv, c.plan), chunk), expected) << "chunks of " << chunk;
      }
    }
  }
}

// Rows of one, two and three regimes share a step.
TEST_P(AttentionChunksTest, OfThreeRegimesStandsBesideOthers) {
  const Geometry g{6, 2, 32, 32, CacheType::kBf16};
  RotaryPlan chunks = Plan(g, 20000, 1), far = Plan(g, 10000, 1);
  far.far = {.window = 100, .divisor = 8, .floor = false, .query_offset = 100 - 100 / 8.0};
  SetFingerprint(far);
  const RotaryPlan plans[] = {Plan(g, 10000, 1), chunks, far};
  const Attention::MakeAngles make_angles = [&](const RotaryPlan& plan,
                                                int64_t max_positions) -> std::unique_ptr<const PlanAngles> {
    if (plan.fingerprint != chunks.fingerprint) return std::make_unique<const PlanAngles>(plan, max_positions);
    return std::make_unique<const ChunkAngles>(plan, max_positions, 70, 90);
  };
  Reader reader(g, 2, make_angles);
  std::vector<std::vector<float>> rows;
  for (uint32_t i = 0; i < 3; ++i) {
    rows.push_back(RandomQkv(g, 400, i));
    reader.AddRow(rows.back(), plans[i]);
  }
  std::mt19937 random(5);
  for (bool any_left = true; any_left;) {
    std::vector<std::pair<size_t, int64_t>> work;
    any_left = false;
    for (size_t row = 0; row < rows.size(); ++row) {
      const int64_t left = reader.Left(row);
      any_left = any_left || left > 0;
      if (left > 0 && random() % 4 != 0) {
        work.emplace_back(row, std::min(left, 1 + static_cast<int64_t>(random() % 60)));
      }
    }
    if (!work.empty()) reader.Step(work);
  }
  for (size_t row = 0; row < rows.size(); ++row) {
    EXPECT_LT(LargestError(g, rows[row], make_angles(plans[row], Reader::kPositions), reader.Out(row)), 1e-5) << row;
  }
}

// Counts itself.
class CountedAngles final : public PlanAngles {
 public:
  CountedAngles(const RotaryPlan& plan, int64_t max_positions, int& alive)
      : PlanAngles(plan, max_positions), alive_(alive) {
    ++alive_;
  }
  ~CountedAngles() override { --alive_; }

 private:
  int& alive_;
};

TEST(AttentionTest, KeepsTheAnglesOfAStepAndOf64OtherPlansAtMost) {
  const Geometry g{1, 1, 16, 16, CacheType::kF32};
  int alive = 0, made = 0;
  {
    Reader reader(g, 1, [&](const RotaryPlan& plan, int64_t max_positions) {
      ++made;
      return std::make_unique<const CountedAngles>(plan, max_positions, alive);
    });
    const size_t lasting = reader.AddRow(RandomQkv(g, 101, 1), Plan(g, 100, 1));
    for (int i = 0; i < 100; ++i) {
      const size_t passing = reader.AddRow(RandomQkv(g, 1, 1), Plan(g, 1000 + i, 1));
      reader.Step({{lasting, 1}, {passing, 1}});
      EXPECT_LE(alive, 64 + 2);
    }
    EXPECT_EQ(made, 101);  // a plan that is in use is not forgotten
    EXPECT_EQ(alive, 64 + 2);
    std::vector<std::pair<size_t, int64_t>> all;
    for (int i = 0; i < 80; ++i) all.emplace_back(reader.AddRow(RandomQkv(g, 1, 1), Plan(g, 5000 + i, 1)), 1);
    reader.Step(all);
    EXPECT_EQ(alive, 64 + 80);
    reader.Step({{lasting, 1}});
    EXPECT_EQ(alive, 64 + 1);
  }
  EXPECT_EQ(alive, 0);
}

}  // namespace
}  // namespace longhaul::cpu
