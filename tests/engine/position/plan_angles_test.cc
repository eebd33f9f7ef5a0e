#include "engine/position/plan_angles.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <complex>
#include <functional>
#include <random>
#include <vector>

#include "tests/engine/position/position_test_models.h"

namespace longhaul {
namespace {

using Turn = std::vector<std::complex<double>>;  // [pairs]
using Angles = void (PlanAngles::*)(int64_t, float*, float*) const;

Turn At(const PlanAngles& angles, Angles which, int64_t position) {
  const auto pairs = static_cast<size_t>(angles.pairs());
  std::vector<float> cosines(pairs), sines(pairs);
  (angles.*which)(position, cosines.data(), sines.data());
  Turn turn;
  for (size_t i = 0; i < pairs; ++i) turn.emplace_back(cosines[i], sines[i]);
  return turn;
}

Turn Query(const PlanAngles& angles, int regime, int64_t position) {
  const auto pairs = static_cast<size_t>(angles.pairs());
  std::vector<float> cosines(pairs), sines(pairs);
  angles.Query(regime, position, cosines.data(), sines.data());
  Turn turn;
  for (size_t i = 0; i < pairs; ++i) turn.emplace_back(cosines[i], sines[i]);
  return turn;
}

Turn StoredKey(const PlanAngles& angles, int64_t position) {
  if (!angles.turns_stored_keys()) return Turn(static_cast<size_t>(angles.pairs()), 1);
  return At(angles, &PlanAngles::StoredKey, position);
}

// How a query at p is turned against a key at j, as a kernel meets them.
Turn Relative(const PlanAngles& angles, int64_t p, int64_t j) {
  int regime = 0;
  while (j < angles.FirstKey(regime, p)) ++regime;
  Turn query = Query(angles, regime, p);
  const Turn stored = StoredKey(angles, j);
  for (size_t i = 0; i < query.size(); ++i) query[i] *= std::conj(stored[i]);
  if (regime == 0 && angles.has_near_keys()) {
    const Turn further = At(angles, &PlanAngles::NearKey, j);
    for (size_t i = 0; i < query.size(); ++i) query[i] *= std::conj(further[i]);
  }
  return query;
}

double WorstDifference(const Turn& a, const Turn& b) {
  double worst = 0;
  for (size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::abs(a[i] - b[i]));
  return worst;
}

Turn OfDistance(const RotaryPlan& plan, double distance) {
  Turn turn;
  for (double theta : plan.inv_freq) turn.push_back(std::polar(1.0, distance * theta));
  return turn;
}

// The published distance maps, delta(p, j).
double Plain(int64_t p, int64_t j) {
  return static_cast<double>(p - j);
}
double Rerope(int64_t window, int64_t p, int64_t j) {
  return static_cast<double>(std::min(p - j, window));
}
double Leaky(int64_t window, int64_t step, int64_t p, int64_t j) {
  if (p - j < window) return Plain(p, j);
  return static_cast<double>(window) + static_cast<double>(p - j - window) / static_cast<double>(step);
}
double SelfExtend(int64_t window, int64_t group, int64_t p, int64_t j) {
  if (p - j < window) return Plain(p, j);
  return static_cast<double>(p / group - j / group + window) - static_cast<double>(window) / static_cast<double>(group);
}

constexpr double kTolerance = 3e-6;  // radians: products of three or four numbers of f32

TEST(PlanAngles, MeetAtTheGoldenDistances) {
  const int64_t p = 40000;
  const RotaryPlan leaky = PlanOf(SmolLm2(), position::LeakyRerope{2048, 8});
  const PlanAngles leaky_angles(leaky, p + 1);
  for (const auto& [distance, seen] :
       {std::pair(2047, 2047.0), {2048, 2048.0}, {2056, 2049.0}, {8191, 2815.875}, {32767, 5887.875}}) {
    EXPECT_EQ(Leaky(2048, 8, p, p - distance), seen);
    EXPECT_LT(WorstDifference(Relative(leaky_angles, p, p - distance), OfDistance(leaky, seen)), kTolerance);
  }
  const RotaryPlan grouped = PlanOf(SmolLm2(), position::SelfExtend{8, 1024});
  const PlanAngles grouped_angles(grouped, p + 1);
  for (const auto& [distance, seen] : {std::pair(1023, 1023.0), {1024, 1024.0}, {1032, 1025.0}, {16000, 2896.0}}) {
    EXPECT_EQ(SelfExtend(1024, 8, 20000, 20000 - distance), seen);
    EXPECT_LT(WorstDifference(Relative(grouped_angles, 20000, 20000 - distance), OfDistance(grouped, seen)),
              kTolerance);
  }
}

TEST(PlanAngles, FollowThePublishedDistanceMaps) {
  std::mt19937_64 random(5);
  const auto draw = [&](int64_t least, int64_t most) {
    return std::uniform_int_distribution<int64_t>(least, most)(random);
  };
  for (int round = 0; round < 200; ++round) {
    const int64_t trained = draw(8, 8192), window = draw(1, trained), divisor = draw(2, 100);
    const ModelRotation rotation = Rotation(2 * draw(1, 32), std::pow(10, static_cast<double>(draw(2, 6))), trained);
    struct Case {
      RotaryPlan plan;
      std::function<double(int64_t, int64_t)> delta;
    };
    const Case cases[] = {
        {PlanOf(rotation, position::None()), Plain},
        {PlanOf(rotation, position::Rerope{window}), [=](int64_t p, int64_t j) { return Rerope(window, p, j); }},
        {PlanOf(rotation, position::LeakyRerope{window, divisor}),
         [=](int64_t p, int64_t j) { return Leaky(window, divisor, p, j); }},
        {PlanOf(rotation, position::SelfExtend{divisor, window}),
         [=](int64_t p, int64_t j) { return SelfExtend(window, divisor, p, j); }},
    };
    const int64_t p = draw(0, 131071);
    for (const Case& c : cases) {
      const PlanAngles angles(c.plan, p + 1);
      // Anywhere, on both sides of the window's edge, the first key and the query's own.
      for (int64_t j : {draw(0, p), p - window + 1, p - window, p - window - 1, int64_t{0}, p}) {
        if (j < 0 || j > p) continue;
        EXPECT_LT(WorstDifference(Relative(angles, p, j), OfDistance(c.plan, c.delta(p, j))), kTolerance)
            << "window " << window << ", divisor " << divisor << ", p " << p << ", j " << j;
      }
    }
  }
}

// The borders of the two regimes meet for ReRoPE and Leaky ReRoPE: which side of the window is which cannot be seen.
TEST(PlanAngles, BothRegimesAgreeAtTheWindow) {
  for (const RotaryPlan& plan :
       {PlanOf(SmolLm2(), position::Rerope{1000}), PlanOf(SmolLm2(), position::LeakyRerope{1000, 7})}) {
    const PlanAngles angles(plan, 50001);
    EXPECT_LT(WorstDifference(Relative(angles, 50000, 49000), OfDistance(plan, 1000)), kTolerance);
  }
}

TEST(PlanAngles, OfALeakyStepOfMillionsAreThoseOfRerope) {
  const PlanAngles leaky(PlanOf(SmolLm2(), position::LeakyRerope{2048, int64_t{1} << 50}), 20001);
  const PlanAngles rerope(PlanOf(SmolLm2(), position::Rerope{2048}), 20001);
  for (int64_t j : {0, 1, 10000, 17952, 17953, 20000}) {
    EXPECT_LT(WorstDifference(Relative(leaky, 20000, j), Relative(rerope, 20000, j)), kTolerance);
  }
}

TEST(PlanAngles, AreThoseOfThePlainPlanWithoutAFarRegime) {
  const PlanAngles plain(PlanOf(SmolLm2(), position::None()), 3001);
  EXPECT_EQ(plain.n_regimes(), 1);
  EXPECT_TRUE(plain.turns_stored_keys());
  for (const RotaryPlan& plan :
       {PlanOf(SmolLm2(), position::LeakyRerope{100, 1}), PlanOf(SmolLm2(), position::SelfExtend{1, 100})}) {
    const PlanAngles angles(plan, 3001);
    EXPECT_EQ(angles.n_regimes(), 1);
    EXPECT_EQ(Query(angles, 0, 3000), Query(plain, 0, 3000));
    EXPECT_EQ(StoredKey(angles, 3000), Query(plain, 0, 3000));
  }
  EXPECT_FALSE(PlanAngles(PlanOf(SmolLm2(), position::Rerope{100}), 10).turns_stored_keys());
}

// A cached key is turned alike by whoever wrote it, however long that request was.
TEST(PlanAngles, AreTheSameWhateverTheLength) {
  const std::vector<RotaryPlan> plans = {PlanOf(SmolLm2(), position::Rerope{64}),
                                         PlanOf(SmolLm2(), position::LeakyRerope{64, 3}),
                                         PlanOf(SmolLm2(), position::SelfExtend{3, 64})};
  for (const RotaryPlan& plan : plans) {
    const PlanAngles small(plan, 1000), large(plan, 200000);
    for (int64_t position : {0, 1, 63, 64, 255, 256, 257, 999}) {
      EXPECT_EQ(StoredKey(small, position), StoredKey(large, position));
      EXPECT_EQ(At(small, &PlanAngles::NearKey, position), At(large, &PlanAngles::NearKey, position));
      for (int regime : {0, 1}) EXPECT_EQ(Query(small, regime, position), Query(large, regime, position));
    }
  }
}

TEST(PlanAngles, ShiftsChangeNothingButForGroupsAndLogN) {
  const auto change = [](const RotaryPlan& plan, int64_t p, int64_t j, int64_t by) {
    const PlanAngles angles(plan, p + by + 1);
    return WorstDifference(Relative(angles, p, j), Relative(angles, p + by, j + by));
  };
  const std::vector<RotaryPlan> invariant = {
      PlanOf(SmolLm2(), position::None()),       PlanOf(SmolLm2(), position::Linear{4}),
      PlanOf(SmolLm2(), position::Ntk{4}),       PlanOf(SmolLm2(), position::Ntk{4, position::Ntk::Variant::kRadix}),
      PlanOf(SmolLm2(), position::NtkFixed{4}),  PlanOf(SmolLm2(), position::BetaMixed{4}),
      PlanOf(SmolLm2(), position::Yarn{4}),      PlanOf(SmolLm2(), position::Llama3{4}),
      PlanOf(SmolLm2(), position::Rerope{1024}), PlanOf(SmolLm2(), position::LeakyRerope{1024, 8}),
  };
  for (const RotaryPlan& plan : invariant) {
    for (int64_t j : {0, 100, 3000, 4900}) EXPECT_LT(change(plan, 5000, j, 12345), 2 * kTolerance);
  }
  const RotaryPlan grouped = PlanOf(SmolLm2(), position::SelfExtend{8, 1024});
  EXPECT_GT(change(grouped, 5000, 103, 1), 0.5);
  EXPECT_LT(change(grouped, 5000, 103, 8), 2 * kTolerance);

  PositionMode mode = Mode(position::None());
  mode.log_n = position::LogNSwitch();
  const PlanAngles log_n(Resolved(Resolver(SmolLm2()), mode, 0).plan, 40001);
  EXPECT_NE(log_n.QueryScale(20000), log_n.QueryScale(40000));
}

// Log-n (kexue.fm 8823) at 2, 4 and 8 times L.
TEST(PlanAngles, QueriesGrowByLogNFromTheTrainedLengthOn) {
  for (const auto& [trained, scales] : {std::pair(8192, std::vector<double>{1.0769, 1.1538, 1.2308}),
                                        std::pair(2048, std::vector<double>{1.0909, 1.1818, 1.2727}),
                                        std::pair(256, std::vector<double>{1.125, 1.25, 1.375})}) {
    PositionMode mode = Mode(position::Rerope());
    mode.log_n = position::LogNSwitch{trained};
    const PlanAngles angles(Resolved(Resolver(SmolLm2()), mode, 0).plan, 8 * trained);
    EXPECT_EQ(angles.QueryScale(0), 1);
    EXPECT_EQ(angles.QueryScale(trained - 1), 1);
    EXPECT_GT(angles.QueryScale(trained), 1);
    for (size_t i = 0; i < 3; ++i) {
      EXPECT_NEAR(angles.QueryScale((int64_t{2} << i) * trained - 1), scales[i], 5e-5);
    }
  }
}

TEST(PlanAngles, QueriesCarryThePlansScaleAndLogN) {
  PositionMode mode = Mode(position::Yarn{4});
  const PositionResolver resolver = Resolver(SmolLm2());
  const double temperature = 1.13862944;
  EXPECT_NEAR(PlanAngles(Resolved(resolver, mode, 0).plan, 1).QueryScale(100000), temperature * temperature, 1e-6);
  mode.log_n = position::LogNSwitch();
  EXPECT_NEAR(PlanAngles(Resolved(resolver, mode, 0).plan, 1).QueryScale(4 * 8192 - 1),
              temperature * temperature * 15 / 13, 1e-6);
}

}  // namespace
}  // namespace longhaul
