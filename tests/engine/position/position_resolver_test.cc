#include "engine/position/position_resolver.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "tests/engine/position/position_test_models.h"

namespace longhaul {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN(), kInfinity = std::numeric_limits<double>::infinity();

template <typename Kind>
const Kind& As(const ResolvedPosition& resolved) {
  return std::get<Kind>(resolved.mode.kind);
}

std::string Refusal(const PositionResolver& resolver, const PositionMode& mode, int64_t length = 0) {
  const auto resolved = resolver.Resolve(mode, length);
  EXPECT_EQ(resolved.status().code(), absl::StatusCode::kInvalidArgument) << Name(mode);
  return std::string(resolved.status().message());
}

// --- Plans ---

TEST(Resolve, FactorOneOfAnythingIsThePlainPlan) {
  ModelRotation scaled = SmolLm2();
  scaled.scaling = ModelRotation::Scaling::kYarn;
  scaled.factor = 3;
  scaled.pair_factors.assign(32, 1.25f);
  for (const ModelRotation& rotation : {SmolLm2(), Stories15M(), scaled}) {
    const PositionResolver resolver = Resolver(rotation);
    const auto pairs = static_cast<size_t>(rotation.rotary_dims / 2);
    for (const PositionMode& mode :
         {Mode(position::None()), Mode(position::Linear{1}), Mode(position::Ntk{1}),
          Mode(position::Ntk{1, position::Ntk::Variant::kRadix}), Mode(position::NtkFixed{1}),
          Mode(position::BetaMixed{1}), Mode(position::BetaMixed{1, 0.3}), Mode(position::Yarn{1}),
          Mode(position::Yarn{1, 1, 32, position::Yarn::Ramp::kTurns}), Mode(position::Llama3{1}),
          Mode(position::PerPair{std::vector<double>(pairs, 1)}), Mode(position::LeakyRerope{10, 1}),
          Mode(position::SelfExtend{1, 10})}) {
      const ResolvedPosition resolved = Resolved(resolver, mode, 0);
      EXPECT_EQ(resolved.plan.inv_freq, resolver.plain_plan().inv_freq) << Name(mode);
      EXPECT_EQ(resolved.plan.fingerprint, resolver.plain_plan().fingerprint) << Name(mode);
      EXPECT_EQ(resolved.reach, rotation.trained_length) << Name(mode);
      EXPECT_FALSE(resolved.plan.far.has_value());
      EXPECT_FALSE(resolved.past_recommended);
    }
  }
}

TEST(Resolve, GivesTheFarRegimesOfTheDesign) {
  const ResolvedPosition rerope_resolved = Resolved(Resolver(SmolLm2()), Mode(position::Rerope{1000}), 0);
  const RotaryPlan& rerope = rerope_resolved.plan;
  ASSERT_TRUE(rerope.far.has_value());
  EXPECT_EQ(rerope.far->window, 1000);
  EXPECT_EQ(rerope.far->divisor, 0);
  EXPECT_EQ(rerope.far->query_offset, 1000);
  EXPECT_EQ(rerope_resolved.reach, std::nullopt);

  const ResolvedPosition leaky_resolved = Resolved(Resolver(SmolLm2()), Mode(position::LeakyRerope{1000, 3}), 0);
  const RotaryPlan& leaky = leaky_resolved.plan;
  ASSERT_TRUE(leaky.far.has_value());
  EXPECT_EQ(leaky.far->window, 1000);
  EXPECT_EQ(leaky.far->divisor, 3);
  EXPECT_FALSE(leaky.far->floor);
  EXPECT_EQ(leaky.far->query_offset, 1000 - 1000.0 / 3);
  EXPECT_EQ(leaky_resolved.reach, 1000 + 3 * 7192);

  const ResolvedPosition grouped_resolved = Resolved(Resolver(SmolLm2()), Mode(position::SelfExtend{3, 1000}), 0);
  const RotaryPlan& grouped = grouped_resolved.plan;
  ASSERT_TRUE(grouped.far.has_value());
  EXPECT_EQ(grouped.far->window, 1000);
  EXPECT_EQ(grouped.far->divisor, 3);
  EXPECT_TRUE(grouped.far->floor);
  EXPECT_EQ(grouped.far->query_offset, 1000 - 1000.0 / 3);
  EXPECT_EQ(grouped_resolved.reach, 1000 + 3 * 7192);
}

TEST(Resolve, ReachIsFactorTimesTheTrainedLength) {
  for (const PositionMode& mode :
       {Mode(position::Linear{2.5}), Mode(position::Ntk{2.5}), Mode(position::NtkFixed{2.5}),
        Mode(position::BetaMixed{2.5}), Mode(position::Yarn{2.5}), Mode(position::Llama3{2.5})}) {
    EXPECT_EQ(Resolved(Resolver(Stories15M()), mode, 1).reach, 640) << Name(mode);
  }
  std::vector<double> factors(24, 1);
  factors[7] = 3.01;
  EXPECT_EQ(Resolved(Resolver(Stories15M()), Mode(position::PerPair{factors}), 0).reach, 770);  // floor(770.56)
}

TEST(Resolve, PerPairDividesByItsTable) {
  std::vector<double> factors(32);
  for (size_t i = 0; i < 32; ++i) factors[i] = 1 + static_cast<double>(i) / 4;
  const RotaryPlan plain = Resolver(SmolLm2()).plain_plan();
  const RotaryPlan plan = PlanOf(SmolLm2(), position::PerPair{factors, 1.5});
  for (size_t i = 0; i < 32; ++i) EXPECT_EQ(plan.inv_freq[i], plain.inv_freq[i] / factors[i]);
  EXPECT_EQ(plan.query_scale, 1.5);
}

TEST(Resolve, PerPairTakesTheModelFilesTable) {
  ModelRotation rotation = SmolLm2();
  EXPECT_EQ(Resolver(rotation).Resolve(Mode(position::PerPair()), 0).status().code(),
            absl::StatusCode::kFailedPrecondition);
  rotation.long_factors.assign(32, 2.5f);
  const ResolvedPosition resolved = Resolved(Resolver(rotation), Mode(position::PerPair()), 0);
  EXPECT_EQ(As<position::PerPair>(resolved).factors, std::vector<double>(32, 2.5));
  EXPECT_EQ(resolved.plan.fingerprint, PlanOf(SmolLm2(), position::Linear{2.5}).fingerprint);
  // Only a request that asks for it gets it.
  EXPECT_EQ(Resolver(rotation).plain_plan().fingerprint, Resolver(SmolLm2()).plain_plan().fingerprint);
}

TEST(Resolve, EqualNumbersHaveOneFingerprintWhateverTheirMode) {
  EXPECT_EQ(PlanOf(SmolLm2(), position::NtkFixed{4}).fingerprint,
            PlanOf(SmolLm2(), position::BetaMixed{4, 1}).fingerprint);
  EXPECT_EQ(PlanOf(SmolLm2(), position::Linear{4}).fingerprint,
            PlanOf(SmolLm2(), position::PerPair{std::vector<double>(32, 4)}).fingerprint);
  EXPECT_NE(PlanOf(SmolLm2(), position::Rerope{1024}).fingerprint,
            PlanOf(SmolLm2(), position::Rerope{1025}).fingerprint);
  EXPECT_NE(PlanOf(SmolLm2(), position::LeakyRerope{1024, 8}).fingerprint,
            PlanOf(SmolLm2(), position::SelfExtend{8, 1024}).fingerprint);
  EXPECT_NE(PlanOf(SmolLm2(), position::Rerope{1024}).fingerprint, PlanOf(SmolLm2(), position::None()).fingerprint);
}

// --- What is filled in ---

TEST(Resolve, FillsInEveryParameter) {
  const PositionResolver resolver = Resolver(SmolLm2());
  const int64_t length = 40000;
  EXPECT_EQ(As<position::Linear>(Resolved(resolver, Mode(position::Linear()), length)).factor, 6);
  EXPECT_EQ(As<position::Ntk>(Resolved(resolver, Mode(position::Ntk()), length)).factor, 6);
  EXPECT_EQ(As<position::NtkFixed>(Resolved(resolver, Mode(position::NtkFixed()), length)).factor, 6);
  EXPECT_EQ(As<position::BetaMixed>(Resolved(resolver, Mode(position::BetaMixed()), length)).factor, 6);
  EXPECT_EQ(As<position::Yarn>(Resolved(resolver, Mode(position::Yarn()), length)).factor, 6);
  EXPECT_EQ(As<position::Llama3>(Resolved(resolver, Mode(position::Llama3()), length)).factor, 6);
  EXPECT_EQ(As<position::Rerope>(Resolved(resolver, Mode(position::Rerope()), length)).window, 2048);
  const ResolvedPosition leaky = Resolved(resolver, Mode(position::LeakyRerope()), length);
  EXPECT_EQ(As<position::LeakyRerope>(leaky).window, 2048);
  EXPECT_EQ(As<position::LeakyRerope>(leaky).step, 32);  // 2048 + 37952 / 32 <= 4096 < 2048 + 37952 / 16
  const ResolvedPosition grouped = Resolved(resolver, Mode(position::SelfExtend()), length);
  EXPECT_EQ(As<position::SelfExtend>(grouped).window, 2048);
  EXPECT_EQ(As<position::SelfExtend>(grouped).group, 12);  // 2048 + 37952 / 12 <= 5461.3 < 2048 + 37952 / 11
  EXPECT_EQ(leaky.mode.trained_length, 8192);

  PositionMode log_n = Mode(position::None());
  log_n.log_n = position::LogNSwitch();
  log_n.trained_length = 4096;
  const ResolvedPosition resolved = Resolved(resolver, log_n, length);
  ASSERT_TRUE(resolved.mode.log_n.has_value());
  EXPECT_EQ(resolved.mode.log_n->trained_length, 4096);
  ASSERT_TRUE(resolved.plan.log_n.has_value());
  EXPECT_EQ(resolved.plan.log_n->trained_length, 4096);
}

TEST(Resolve, FitsTheSmallestRungThatHolds) {
  const PositionResolver resolver = Resolver(SmolLm2());
  const auto factor = [&](int64_t length) {
    return As<position::Yarn>(Resolved(resolver, Mode(position::Yarn()), length)).factor;
  };
  EXPECT_EQ(factor(0), 1);
  EXPECT_EQ(factor(8192), 1);
  EXPECT_EQ(factor(8193), 1.5);
  EXPECT_EQ(factor(12288), 1.5);
  EXPECT_EQ(factor(12289), 2);
  EXPECT_EQ(factor(16385), 3);
}

TEST(Resolve, AWindowOfAShortModelIsAtLeastOne) {
  EXPECT_EQ(As<position::Rerope>(Resolved(Resolver(Rotation(8, 100, 3)), Mode(position::Rerope()), 0)).window, 1);
}

TEST(Resolve, TheRequestsTrainedLengthGoesBeforeTheServersAndThatBeforeTheFiles) {
  const PositionMode none = Mode(position::None());
  EXPECT_EQ(Resolved(Resolver(SmolLm2()), none, 0).reach, 8192);
  const PositionResolver server = Resolver(SmolLm2(), Mode(position::Rerope()), 4096);
  EXPECT_EQ(server.trained_length(), 4096);
  EXPECT_EQ(Resolved(server, none, 0).reach, 4096);
  PositionMode request = Mode(position::Rerope());
  request.trained_length = 1024;
  EXPECT_EQ(As<position::Rerope>(Resolved(server, request, 0)).window, 256);
  request.kind = position::Linear();
  EXPECT_EQ(As<position::Linear>(Resolved(server, request, 4096)).factor, 4);
  EXPECT_EQ(As<position::Linear>(Resolved(server, request, 0)).factor, 1);
}

// The ramps are about what was trained, so L is in them.
TEST(Resolve, RampsUseTheTrainedLengthInForce) {
  PositionMode yarn = Mode(position::Yarn{4});
  yarn.trained_length = 2048;
  EXPECT_EQ(Resolved(Resolver(SmolLm2()), yarn, 0).plan.inv_freq,
            PlanOf(Rotation(64, 100000, 2048), position::Yarn{4}).inv_freq);
}

// --- What a client is told ---

TEST(Resolve, RefitIsAFittedPlanOtherThanThePlainOne) {
  const PositionResolver resolver = Resolver(SmolLm2());
  const auto refit = [&](const PositionMode& mode, int64_t length) { return Resolved(resolver, mode, length).refit; };
  EXPECT_FALSE(refit(Mode(position::Linear()), 8192));
  EXPECT_TRUE(refit(Mode(position::Linear()), 8193));
  EXPECT_FALSE(refit(Mode(position::Linear{4}), 20000)) << "it was asked for";
  EXPECT_FALSE(refit(Mode(position::LeakyRerope()), 4096));
  EXPECT_TRUE(refit(Mode(position::LeakyRerope()), 4097));
  EXPECT_FALSE(refit(Mode(position::LeakyRerope{2048, 8}), 20000));
  EXPECT_TRUE(refit(Mode(position::SelfExtend()), 8192));
  EXPECT_FALSE(refit(Mode(position::Rerope()), 20000)) << "nothing is fitted";
  EXPECT_FALSE(refit(PositionMode(), 8192));
  EXPECT_TRUE(refit(PositionMode(), 8193));
}

TEST(Resolve, NtkIsPastRecommendedFromHalfItsReachOn) {
  const PositionResolver resolver = Resolver(SmolLm2());
  const auto past = [&](const PositionMode& mode, int64_t length) {
    return Resolved(resolver, mode, length).past_recommended;
  };
  for (const auto variant : {position::Ntk::Variant::kBloc97, position::Ntk::Variant::kRadix}) {
    EXPECT_FALSE(past(Mode(position::Ntk{4, variant}), 16383));
    EXPECT_TRUE(past(Mode(position::Ntk{4, variant}), 16384));
    EXPECT_FALSE(past(Mode(position::Ntk{1, variant}), 8192));
    EXPECT_TRUE(past(Mode(position::Ntk{0, variant}), 10000));
  }
  EXPECT_FALSE(past(Mode(position::NtkFixed{4}), 32768));
  EXPECT_FALSE(past(Mode(position::Yarn{4}), 32768));
}

TEST(Resolve, LeakyIsPastRecommendedBeyondHalfTheTrainedLength) {
  const PositionResolver resolver = Resolver(SmolLm2());
  const auto past = [&](const PositionMode& mode, int64_t length) {
    return Resolved(resolver, mode, length).past_recommended;
  };
  EXPECT_FALSE(past(Mode(position::LeakyRerope{2048, 8}), 2048 + 8 * 2048));
  EXPECT_TRUE(past(Mode(position::LeakyRerope{2048, 8}), 2048 + 8 * 2048 + 1));
  EXPECT_FALSE(past(Mode(position::LeakyRerope{6000, 8}), 6000)) << "all of it is near";
  EXPECT_TRUE(past(Mode(position::LeakyRerope{6000, 8}), 6001));
  EXPECT_FALSE(past(Mode(position::LeakyRerope{2048, 1}), 8192)) << "there is no far regime";
  EXPECT_FALSE(past(Mode(position::LeakyRerope()), 1000000)) << "fitted to be within";
}

// --- Auto ---

TEST(Auto, IsPlainWhileItFitsAndThenTheDefault) {
  const PositionResolver resolver = Resolver(SmolLm2());
  const ResolvedPosition shorter = Resolved(resolver, PositionMode(), 8192);
  EXPECT_STREQ(Name(shorter.mode), "none");
  EXPECT_EQ(shorter.mode.trained_length, 8192);
  EXPECT_EQ(shorter.plan.fingerprint, resolver.plain_plan().fingerprint);
  EXPECT_EQ(shorter.reach, 8192);
  const ResolvedPosition longer = Resolved(resolver, PositionMode(), 8193);
  EXPECT_STREQ(Name(longer.mode), "rerope");
  EXPECT_EQ(As<position::Rerope>(longer).window, 2048);
  EXPECT_EQ(longer.reach, std::nullopt);
  EXPECT_STREQ(Name(Resolved(resolver, PositionMode(), 0).mode), "none");
}

TEST(Auto, FitsTheDefaultToTheLength) {
  const PositionResolver resolver = Resolver(SmolLm2(), Mode(position::Yarn()));
  const ResolvedPosition resolved = Resolved(resolver, PositionMode(), 20000);
  EXPECT_EQ(As<position::Yarn>(resolved).factor, 3);
  EXPECT_TRUE(resolved.refit);
}

TEST(Auto, ChoosesOnceForAChatThatWillGrow) {
  const PositionResolver resolver = Resolver(SmolLm2(), Mode(position::Yarn()));
  const PositionMode growing = Mode(position::Auto{20000});
  EXPECT_EQ(As<position::Yarn>(Resolved(resolver, growing, 100)).factor, 3);
  EXPECT_EQ(As<position::Yarn>(Resolved(resolver, growing, 20000)).factor, 3);
  EXPECT_EQ(As<position::Yarn>(Resolved(resolver, growing, 30000)).factor, 4);
  EXPECT_STREQ(Name(Resolved(resolver, Mode(position::Auto{8192}), 100).mode), "none");
}

TEST(Auto, KeepsTheRequestsSwitches) {
  PositionMode by_default = Mode(position::Rerope());
  by_default.log_n = position::LogNSwitch{512};
  const PositionResolver resolver = Resolver(SmolLm2(), by_default);
  EXPECT_EQ(Resolved(resolver, PositionMode(), 8192).plan.log_n, std::nullopt);
  EXPECT_EQ(Resolved(resolver, PositionMode(), 8193).plan.log_n->trained_length, 512);

  PositionMode request;
  request.log_n = position::LogNSwitch{1024};
  request.allow_beyond_reach = true;
  EXPECT_EQ(Resolved(resolver, request, 8192).plan.log_n->trained_length, 1024);
  EXPECT_EQ(Resolved(resolver, request, 8193).plan.log_n->trained_length, 1024);
  EXPECT_TRUE(Resolved(resolver, request, 8192).mode.allow_beyond_reach);

  request.trained_length = 4096;
  const ResolvedPosition resolved = Resolved(resolver, request, 5000);
  EXPECT_EQ(As<position::Rerope>(resolved).window, 1024);
  EXPECT_EQ(resolved.mode.trained_length, 4096);
}

TEST(Auto, TakesTheDefaultsTrainedLengthAndItsLeave) {
  PositionMode by_default = Mode(position::Rerope{5000});
  by_default.trained_length = 4096;
  EXPECT_THAT(std::string(PositionResolver::Create(SmolLm2(), by_default, 0).status().message()),
              HasSubstr("position.rerope.window: 5000"));
  by_default.allow_beyond_reach = true;
  const PositionResolver resolver = Resolver(SmolLm2(), by_default);
  EXPECT_STREQ(Name(Resolved(resolver, PositionMode(), 4096).mode), "none");
  const ResolvedPosition resolved = Resolved(resolver, PositionMode(), 4097);
  EXPECT_EQ(As<position::Rerope>(resolved).window, 5000);
  EXPECT_TRUE(resolved.mode.allow_beyond_reach);
}

TEST(Auto, NamesTheRequestsTrainedLengthWhereTheDefaultDoesNotGoWithIt) {
  const PositionResolver resolver = Resolver(SmolLm2(), Mode(position::Rerope{2048}));
  PositionMode request;
  request.trained_length = 1024;
  EXPECT_THAT(Refusal(resolver, request, 1025), AllOf(StartsWith("position.trained_length: 1024"),
                                                      HasSubstr("position.rerope.window: 2048 is not allowed")));
  EXPECT_STREQ(Name(Resolved(resolver, request, 1024).mode), "none");
}

// --- Refusals ---

TEST(Create, RefusesADefaultThatCouldNeverBe) {
  const auto error = [](const PositionMode& mode, int64_t trained_length) {
    const auto resolver = PositionResolver::Create(SmolLm2(), mode, trained_length);
    EXPECT_EQ(resolver.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(resolver.status().message());
  };
  EXPECT_THAT(error(PositionMode(), 0), HasSubstr("cannot be auto"));
  EXPECT_THAT(error(Mode(position::Rerope{9000}), 0), HasSubstr("position.rerope.window: 9000"));
  EXPECT_THAT(error(Mode(position::Rerope{2048}), 1024), HasSubstr("position.rerope.window: 2048"));
  EXPECT_THAT(error(Mode(position::PerPair()), 0), HasSubstr("position.per_pair.factors"));
  EXPECT_THAT(error(Mode(position::None()), 1), HasSubstr("trained length 1"));
  EXPECT_THAT(error(Mode(position::None()), -5), HasSubstr("trained length -5"));
  ModelRotation broken = SmolLm2();
  broken.rotary_dims = 3;
  EXPECT_FALSE(PositionResolver::Create(broken, Mode(position::None()), 0).ok());
}

TEST(Refusals, NameTheFieldTheValueAndWhatIsAllowed) {
  const PositionResolver resolver = Resolver(SmolLm2());
  EXPECT_EQ(Refusal(resolver, Mode(position::Rerope{0})),
            "position.rerope.window: 0 is not allowed; it must be 1 to 8192 (the trained length), or set "
            "allow_beyond_reach");
  EXPECT_EQ(Refusal(resolver, Mode(position::Linear{0.999999999})),
            "position.linear.factor: 0.999999999 is not allowed; it must be a finite number, at least 1, or 0 to be "
            "fitted");
  EXPECT_EQ(Refusal(resolver, Mode(position::BetaMixed{2, 1.5})),
            "position.beta_mixed.b: 1.5 is not allowed; it must be 0 to 1");
  EXPECT_EQ(
      Refusal(resolver, Mode(position::LeakyRerope{4096})),
      "position.leaky_rerope.window: 4096 is not allowed; it must be 1 to 4095 (below half the trained length) where "
      "the step is fitted");
  EXPECT_EQ(Refusal(resolver, Mode(position::SelfExtend{0, 5462})),
            "position.self_extend.window: 5462 is not allowed; it must be 1 to 5461 (below two thirds of the trained "
            "length) where the group is fitted");
}

struct Case {
  std::string field;
  PositionMode mode;
};

TEST(Refusals, OfFactors) {
  const PositionResolver resolver = Resolver(SmolLm2());
  for (const double bad : {0.5, 0.999, -1.0, -0.001, kNan, kInfinity, -kInfinity}) {
    for (const Case& c :
         {Case{"linear", Mode(position::Linear{bad})}, Case{"ntk", Mode(position::Ntk{bad})},
          Case{"ntk_fixed", Mode(position::NtkFixed{bad})}, Case{"beta_mixed", Mode(position::BetaMixed{bad})},
          Case{"yarn", Mode(position::Yarn{bad})}, Case{"llama3", Mode(position::Llama3{bad})}}) {
      EXPECT_THAT(Refusal(resolver, c.mode), StartsWith("position." + c.field + ".factor: "));
    }
  }
}

TEST(Refusals, OfWindows) {
  const PositionResolver resolver = Resolver(SmolLm2());
  for (const int64_t bad : {int64_t{0}, int64_t{-1}, int64_t{8193}, kMax, std::numeric_limits<int64_t>::min()}) {
    for (Case c :
         {Case{"rerope", Mode(position::Rerope{bad})}, Case{"leaky_rerope", Mode(position::LeakyRerope{bad, 8})},
          Case{"self_extend", Mode(position::SelfExtend{8, bad})}}) {
      EXPECT_THAT(Refusal(resolver, c.mode), StartsWith("position." + c.field + ".window: "));
      c.mode.allow_beyond_reach = true;
      if (bad > 8192) {
        EXPECT_TRUE(resolver.Resolve(c.mode, 0).ok());
      } else {
        EXPECT_THAT(Refusal(resolver, c.mode), StartsWith("position." + c.field + ".window: "));
      }
    }
  }
  for (const int64_t edge : {1, 8192}) {
    EXPECT_TRUE(resolver.Resolve(Mode(position::Rerope{edge}), 0).ok());
    EXPECT_TRUE(resolver.Resolve(Mode(position::LeakyRerope{edge, 8}), 0).ok());
    EXPECT_TRUE(resolver.Resolve(Mode(position::SelfExtend{8, edge}), 0).ok());
  }
}

TEST(Refusals, OfWindowsThatNoFitCanHold) {
  const PositionResolver resolver = Resolver(SmolLm2());
  EXPECT_TRUE(resolver.Resolve(Mode(position::LeakyRerope{4095}), 100000).ok());
  EXPECT_THAT(Refusal(resolver, Mode(position::LeakyRerope{4096})), StartsWith("position.leaky_rerope.window: 4096"));
  EXPECT_TRUE(resolver.Resolve(Mode(position::SelfExtend{0, 5461}), 100000).ok());
  EXPECT_THAT(Refusal(resolver, Mode(position::SelfExtend{0, 5462})), StartsWith("position.self_extend.window: 5462"));
  PositionMode beyond = Mode(position::LeakyRerope{9000});
  beyond.allow_beyond_reach = true;
  EXPECT_THAT(Refusal(resolver, beyond), StartsWith("position.leaky_rerope.window: 9000"));
}

TEST(Refusals, OfWhatOneModeHasAlone) {
  const PositionResolver resolver = Resolver(SmolLm2());
  const std::vector<double> ones(32, 1);
  std::vector<Case> cases = {
      {"leaky_rerope.step", Mode(position::LeakyRerope{100, -1})},
      {"self_extend.group", Mode(position::SelfExtend{-1, 100})},
      {"auto.expected_tokens", Mode(position::Auto{-1})},
      {"yarn.beta", Mode(position::Yarn{2, 32, 32})},
      {"yarn.beta", Mode(position::Yarn{2, 32, 1})},
      {"llama3.high_freq_factor", Mode(position::Llama3{2, 4, 4})},
      {"per_pair.factors", Mode(position::PerPair{std::vector<double>(31, 1)})},
      {"per_pair.factors", Mode(position::PerPair{std::vector<double>(33, 1)})},
  };
  for (const double bad : {-0.1, 1.1, kNan, kInfinity}) {
    cases.push_back({"beta_mixed.b", Mode(position::BetaMixed{2, bad})});
  }
  for (const double bad : {0.0, -1.0, kNan, kInfinity, -kInfinity}) {
    cases.push_back({"yarn.alpha", Mode(position::Yarn{2, bad, 32})});
    cases.push_back({"yarn.beta", Mode(position::Yarn{2, 1, bad})});
    cases.push_back({"llama3.low_freq_factor", Mode(position::Llama3{2, bad, 4})});
    cases.push_back({"llama3.high_freq_factor", Mode(position::Llama3{2, 1, bad})});
    cases.push_back({"per_pair.query_scale", Mode(position::PerPair{ones, bad})});
    std::vector<double> factors = ones;
    factors[31] = bad;
    cases.push_back({"per_pair.factors", Mode(position::PerPair{factors})});
  }
  for (const double bad : {1e-7, 1e7}) {
    cases.push_back({"per_pair.query_scale", Mode(position::PerPair{ones, bad})});
    cases.push_back({"per_pair.factors", Mode(position::PerPair{std::vector<double>(32, bad)})});
  }
  for (const Case& c : cases) EXPECT_THAT(Refusal(resolver, c.mode), StartsWith("position." + c.field + ": "));
}

TEST(Refusals, OfTrainedLengths) {
  const PositionResolver resolver = Resolver(SmolLm2());
  for (const int64_t bad : {int64_t{1}, int64_t{-1}, std::numeric_limits<int64_t>::min()}) {
    PositionMode mode = Mode(position::None());
    mode.trained_length = bad;
    EXPECT_THAT(Refusal(resolver, mode), StartsWith("position.trained_length: "));
    mode.kind = position::Auto();
    EXPECT_THAT(Refusal(resolver, mode), StartsWith("position.trained_length: "));
    mode.trained_length = 0;
    mode.log_n = position::LogNSwitch{bad};
    EXPECT_THAT(Refusal(resolver, mode), StartsWith("position.log_n.trained_length: "));
  }
  PositionMode log_n = Mode(position::None());
  log_n.log_n = position::LogNSwitch();
  EXPECT_THAT(Refusal(Resolver(Rotation(8, 100, 1), Mode(position::None())), log_n),
              StartsWith("position.log_n.trained_length: 1"));
}

// --- Absurd numbers ---

TEST(Resolve, AbsurdNumbersSaturate) {
  const PositionResolver resolver = Resolver(SmolLm2());
  EXPECT_EQ(Resolved(resolver, Mode(position::Linear{1e300}), 0).reach, kMax);
  EXPECT_EQ(Resolved(resolver, Mode(position::LeakyRerope{1, kMax}), kMax).reach, kMax);
  EXPECT_EQ(Resolved(resolver, Mode(position::SelfExtend{kMax, 1}), kMax).reach, kMax);
  EXPECT_EQ(Resolved(resolver, Mode(position::Yarn()), kMax).reach, kMax);
  EXPECT_EQ(Resolved(resolver, Mode(position::LeakyRerope()), kMax).reach, kMax);
  EXPECT_EQ(Resolved(resolver, Mode(position::SelfExtend()), kMax).reach, kMax);
  EXPECT_STREQ(Name(Resolved(resolver, Mode(position::Auto{kMax}), 5).mode), "rerope");
}

TEST(Resolve, AWindowBeyondTheTrainedLengthReachesTheTrainedLength) {
  const PositionResolver resolver = Resolver(SmolLm2());
  for (PositionMode mode :
       {Mode(position::Rerope{9000}), Mode(position::LeakyRerope{9000, 8}), Mode(position::SelfExtend{8, 9000})}) {
    mode.allow_beyond_reach = true;
    EXPECT_EQ(Resolved(resolver, mode, 0).reach, 8192) << Name(mode);
  }
}

}  // namespace
}  // namespace longhaul
