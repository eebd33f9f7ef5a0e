// Random requests of position modes, sane and absurd: each is refused by name or becomes a plan of finite numbers.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "engine/position/plan_angles.h"
#include "tests/engine/position/position_test_models.h"

namespace longhaul {
namespace {

class RandomModes {
 public:
  explicit RandomModes(uint64_t seed) : random_(seed) {}

  bool Coin() { return Below(2) == 0; }
  int64_t Below(int64_t bound) { return std::uniform_int_distribution<int64_t>(0, bound - 1)(random_); }

  double Number() {
    static const double kExtreme[] = {0,
                                      -0.0,
                                      1,
                                      -1,
                                      0.5,
                                      2,
                                      1e-300,
                                      1e300,
                                      5e-324,
                                      std::numeric_limits<double>::max(),
                                      std::numeric_limits<double>::epsilon(),
                                      1 + std::numeric_limits<double>::epsilon(),
                                      std::numeric_limits<double>::infinity(),
                                      -std::numeric_limits<double>::infinity(),
                                      std::numeric_limits<double>::quiet_NaN()};
    if (Below(3) == 0) return kExtreme[Below(std::size(kExtreme))];
    return std::exp(std::uniform_real_distribution<double>(-3, 6)(random_));
  }

  int64_t Integer() {
    static const int64_t kExtreme[] = {std::numeric_limits<int64_t>::min(),
                                       std::numeric_limits<int64_t>::max(),
                                       std::numeric_limits<int64_t>::max() - 1,
                                       int64_t{1} << 62,
                                       (int64_t{1} << 62) + 1,
                                       int64_t{1} << 53,
                                       -1,
                                       0,
                                       1,
                                       2,
                                       3};
    if (Below(3) == 0) return kExtreme[Below(std::size(kExtreme))];
    return Below(int64_t{1} << Below(18));
  }

  std::optional<int64_t> MaybeInteger() { return Coin() ? std::optional(Integer()) : std::nullopt; }

  PositionMode Next(int64_t pairs) {
    PositionMode mode;
    switch (Below(12)) {
      case 0:
        mode.kind = position::Auto{Integer()};
        break;
      case 1:
        mode.kind = position::None();
        break;
      case 2:
        mode.kind = position::Linear{Number()};
        break;
      case 3:
        mode.kind = position::Ntk{Number(), Coin() ? position::Ntk::Variant::kBloc97 : position::Ntk::Variant::kRadix};
        break;
      case 4:
        mode.kind = position::NtkFixed{Number()};
        break;
      case 5:
        mode.kind = position::BetaMixed{Number(), Coin() ? Number() : 0.625};
        break;
      case 6:
        mode.kind = position::Yarn{Number(), Number(), Number(),
                                   Coin() ? position::Yarn::Ramp::kIndex : position::Yarn::Ramp::kTurns};
        break;
      case 7:
        mode.kind = position::Llama3{Number(), Number(), Number()};
        break;
      case 8: {
        position::PerPair per_pair;
        if (Coin()) {
          for (int64_t i = 0; i < pairs; ++i) per_pair.factors.push_back(Below(20) == 0 ? Number() : 2);
        }
        per_pair.query_scale = Number();
        mode.kind = per_pair;
        break;
      }
      case 9:
        mode.kind = position::Rerope{MaybeInteger()};
        break;
      case 10:
        mode.kind = position::LeakyRerope{MaybeInteger(), Integer()};
        break;
      default:
        mode.kind = position::SelfExtend{Integer(), MaybeInteger()};
        break;
    }
    if (Below(3) == 0) mode.log_n = position::LogNSwitch{Integer()};
    if (Below(3) == 0) mode.trained_length = Integer();
    mode.allow_beyond_reach = Coin();
    return mode;
  }

  ModelRotation NextRotation() {
    static const int64_t kDims[] = {2, 4, 6, 48, 64, 128};
    ModelRotation rotation =
        Rotation(kDims[Below(std::size(kDims))], std::pow(10, static_cast<double>(1 + Below(6))), 1 + Below(10000));
    rotation.scaling = static_cast<ModelRotation::Scaling>(Below(3));
    rotation.factor = 1 + static_cast<double>(Below(40)) / 4;
    if (Coin()) rotation.long_factors.assign(static_cast<size_t>(rotation.rotary_dims / 2), 3.5f);
    if (Coin()) rotation.pair_factors.assign(static_cast<size_t>(rotation.rotary_dims / 2), 1.5f);
    return rotation;
  }

 private:
  std::mt19937_64 random_;
};

void ExpectFinite(const std::vector<float>& numbers) {
  for (float number : numbers) ASSERT_TRUE(std::isfinite(number));
}

void ExpectUsable(const RotaryPlan& plan) {
  for (double theta : plan.inv_freq) ASSERT_TRUE(std::isfinite(theta) && theta >= 0) << theta;
  ASSERT_TRUE(std::isfinite(plan.query_scale) && plan.query_scale > 0);
  if (plan.far.has_value()) {
    ASSERT_GE(plan.far->window, 1);
    ASSERT_TRUE(plan.far->divisor == 0 || plan.far->divisor >= 2);
    ASSERT_TRUE(std::isfinite(plan.far->query_offset) && plan.far->query_offset >= 0);
  }
  const PlanAngles angles(plan, 300);
  std::vector<float> turn(2 * plan.inv_freq.size());
  float *cosines = turn.data(), *sines = cosines + plan.inv_freq.size();
  angles.Query(0, 299, cosines, sines);
  ExpectFinite(turn);
  ExpectFinite({angles.QueryScale(0), angles.QueryScale(std::numeric_limits<int64_t>::max())});
  if (!plan.far.has_value()) return;
  angles.NearKey(299, cosines, sines);
  ExpectFinite(turn);
  angles.Query(1, 299, cosines, sines);
  ExpectFinite(turn);
}

TEST(PositionResolverFuzz, EveryRequestIsRefusedByNameOrBecomesAFinitePlan) {
  RandomModes random(11);
  int plans = 0;
  for (int round = 0; round < 10000; ++round) {
    const ModelRotation rotation = random.NextRotation();
    const int64_t pairs = rotation.rotary_dims / 2;
    auto resolver = PositionResolver::Create(rotation, random.Next(pairs), random.Coin() ? 0 : random.Integer());
    if (!resolver.ok()) {
      ASSERT_EQ(resolver.status().code(), absl::StatusCode::kInvalidArgument);
      resolver = PositionResolver::Create(rotation, Mode(position::None()), 0);
      ASSERT_TRUE(resolver.ok());
    }
    const PositionMode mode = random.Next(pairs);
    const int64_t length = random.Integer();
    const auto resolved = resolver->Resolve(mode, length);
    if (!resolved.ok()) {
      ASSERT_TRUE(resolved.status().code() == absl::StatusCode::kInvalidArgument ||
                  resolved.status().code() == absl::StatusCode::kFailedPrecondition);
      ASSERT_THAT(std::string(resolved.status().message()), testing::StartsWith("position."));
      continue;
    }
    ++plans;
    SCOPED_TRACE(Name(resolved->mode));
    ExpectUsable(resolved->plan);
    ASSERT_GE(resolved->reach.value_or(1), 1);
    if (HasFatalFailure()) return;
    // What was filled in says it all: asked for again, at any length, it is the same plan.
    ASSERT_STRNE(Name(resolved->mode), "auto");
    const auto again = resolver->Resolve(resolved->mode, random.Coin() ? length : 1);
    ASSERT_TRUE(again.ok()) << again.status();
    ASSERT_EQ(again->plan.fingerprint, resolved->plan.fingerprint);
    ASSERT_EQ(again->reach, resolved->reach);
    ASSERT_FALSE(again->refit);
  }
  EXPECT_GT(plans, 2000) << "most of them should not be refused at the door";
}

// A fitted plan holds the text that it was fitted to.
TEST(PositionResolverFuzz, FitsHold) {
  RandomModes random(12);
  for (int round = 0; round < 2000; ++round) {
    const int64_t trained = 8 + random.Below(20000), length = 1 + random.Below(int64_t{1} << (1 + random.Below(40)));
    const PositionResolver resolver = Resolver(Rotation(8, 10000, trained));
    for (const PositionMode& mode :
         {Mode(position::Auto()), Mode(position::Linear()), Mode(position::Ntk()), Mode(position::NtkFixed()),
          Mode(position::BetaMixed()), Mode(position::Yarn()), Mode(position::Llama3()), Mode(position::LeakyRerope()),
          Mode(position::SelfExtend())}) {
      const ResolvedPosition resolved = Resolved(resolver, mode, length);
      ASSERT_TRUE(!resolved.reach.has_value() || *resolved.reach >= length)
          << Name(mode) << ", L " << trained << ", N " << length;
    }
  }
}

}  // namespace
}  // namespace longhaul
