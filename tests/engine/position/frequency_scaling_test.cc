#include "engine/position/frequency_scaling.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "tests/engine/position/position_test_models.h"

namespace longhaul {
namespace {

using Ramp = position::Yarn::Ramp;
using Variant = position::Ntk::Variant;

struct Golden {
  const char* name;
  PositionMode mode;
  std::vector<double> frequencies;
  double query_scale = 1;
};

// The printed tables have nine digits.
void ExpectGolden(const ModelRotation& rotation, const std::vector<size_t>& pairs, const std::vector<Golden>& table) {
  const PositionResolver resolver = Resolver(rotation);
  for (const Golden& row : table) {
    SCOPED_TRACE(row.name);
    const RotaryPlan plan = Resolved(resolver, row.mode, 0).plan;
    ASSERT_EQ(static_cast<int64_t>(plan.inv_freq.size()), rotation.rotary_dims / 2);
    for (size_t i = 0; i < pairs.size(); ++i) {
      EXPECT_NEAR(plan.inv_freq[pairs[i]] / row.frequencies[i], 1, 1e-8) << "pair " << pairs[i];
    }
    EXPECT_NEAR(plan.query_scale / row.query_scale, 1, 1e-8);
    EXPECT_FALSE(plan.far.has_value());
  }
}

// Computed from the formulas in double precision, apart from this code.
TEST(GoldenFrequencies, OfSmolLm2AtFactor4) {
  const double temperature = 1.13862944;
  ExpectGolden(SmolLm2(), {0, 1, 8, 16, 20, 31},
               {
                   {"none",
                    Mode(position::None()),
                    {1, 0.697830585, 0.0562341325, 0.00316227766, 0.000749894209, 1.43301257e-05}},
                   {"linear",
                    Mode(position::Linear{4}),
                    {0.25, 0.174457646, 0.0140585331, 0.000790569415, 0.000187473552, 3.58253143e-06}},
                   {"ntk radix",
                    Mode(position::Ntk{4, Variant::kRadix}),
                    {1, 0.668244857, 0.0397635364, 0.00158113883, 0.000315291676, 3.74114364e-06}},
                   {"ntk bloc97",
                    Mode(position::Ntk{4, Variant::kBloc97}),
                    {1, 0.667311655, 0.0393214641, 0.00154617754, 0.000306601446, 3.58253143e-06}},
                   // Hugging Face's dynamic NTK of f = 4 at n = 4 L is that of factor f n / L - (f - 1).
                   {"dynamic",
                    Mode(position::Ntk{13, Variant::kBloc97}),
                    {1, 0.642415992, 0.0290088657, 0.000841514291, 0.000143326623, 1.10231736e-06}},
                   {"ntk fixed",
                    Mode(position::NtkFixed{4}),
                    {0.957603281, 0.639913468, 0.0380776929, 0.00151410373, 0.000301924344, 3.58253143e-06}},
                   {"beta mixed",
                    Mode(position::BetaMixed{.factor = 4}),
                    {0.85307766, 0.546159918, 0.0300280789, 0.00124318754, 0.000258399011, 3.58253143e-06}},
                   {"beta mixed b=0.75",
                    Mode(position::BetaMixed{4, 0.75}),
                    {0.902093645, 0.586803237, 0.0329215758, 0.00133462774, 0.000272912238, 3.58253143e-06}},
                   {"yarn",
                    Mode(position::Yarn{.factor = 4}),
                    {1, 0.697830585, 0.0562341325, 0.00173925271, 0.000187473552, 3.58253143e-06},
                    temperature * temperature},
                   {"yarn turns",
                    Mode(position::Yarn{.factor = 4, .ramp = Ramp::kTurns}),
                    {1, 0.697830585, 0.0562341325, 0.00102949753, 0.000187473552, 3.58253143e-06},
                    temperature * temperature},
                   {"llama3",
                    Mode(position::Llama3{.factor = 4}),
                    {1, 0.697830585, 0.0562341325, 0.00316227766, 0.000187473552, 3.58253143e-06}},
               });
}

TEST(GoldenFrequencies, OfStories15MAtFactor8) {
  const double temperature = 1.20794415;
  ExpectGolden(
      Stories15M(), {0, 1, 4, 9, 16, 23},
      {
          {"none", Mode(position::None()), {1, 0.681292069, 0.215443469, 0.0316227766, 0.00215443469, 0.000146779927}},
          {"linear",
           Mode(position::Linear{8}),
           {0.125, 0.0851615086, 0.0269304336, 0.00395284708, 0.000269304336, 1.83474908e-05}},
          {"ntk radix",
           Mode(position::Ntk{8, Variant::kRadix}),
           {1, 0.624747582, 0.152341538, 0.014499107, 0.000538608673, 2.00080806e-05}},
          {"ntk bloc97",
           Mode(position::Ntk{8, Variant::kBloc97}),
           {1, 0.62239852, 0.150063201, 0.01401577, 0.000507103748, 1.83474908e-05}},
          {"ntk fixed",
           Mode(position::NtkFixed{8}),
           {0.917004043, 0.572896059, 0.139697806, 0.0132957397, 0.00049390633, 1.83474908e-05}},
          {"beta mixed",
           Mode(position::BetaMixed{.factor = 8}),
           {0.751782304, 0.438774345, 0.0987470402, 0.00949477577, 0.000403029054, 1.83474908e-05}},
          {"yarn",
           Mode(position::Yarn{.factor = 8}),
           {1, 0.621679013, 0.140038255, 0.00671984003, 0.000269304336, 1.83474908e-05},
           temperature * temperature},
          {"yarn turns",
           Mode(position::Yarn{.factor = 8, .ramp = Ramp::kTurns}),
           {1, 0.599724796, 0.0742286985, 0.00421029152, 0.000269304336, 1.83474908e-05},
           temperature * temperature},
          {"llama3",
           Mode(position::Llama3{.factor = 8}),
           {1, 0.681292069, 0.215443469, 0.00661310632, 0.000269304336, 1.83474908e-05}},
      });
}

// The model's own table is what a mode divides: its base, the scaling that its file declares, its partial rotary
// dimensions.
TEST(FrequencyScaling, ActsOnTheModelsOwnTable) {
  ModelRotation rotation = Rotation(32, 500000, 32768);
  rotation.scaling = ModelRotation::Scaling::kYarn;
  rotation.factor = 4;
  rotation.original_length = 8192;
  rotation.pair_factors.assign(16, 1);
  rotation.pair_factors[15] = 8;
  const PositionResolver resolver = Resolver(rotation);
  const RotaryPlan own = resolver.plain_plan();
  EXPECT_GT(own.query_scale, 1);

  const RotaryPlan ntk = Resolved(resolver, Mode(position::Ntk{2}), 0).plan;
  const RotaryPlan llama3 = Resolved(resolver, Mode(position::Llama3{.factor = 2}), 0).plan;
  const RotaryPlan turns = Resolved(resolver, Mode(position::Yarn{.factor = 2, .ramp = Ramp::kTurns}), 0).plan;
  const RotaryPlan index = Resolved(resolver, Mode(position::Yarn{.factor = 2}), 0).plan;
  for (int64_t i = 0; i < 16; ++i) {
    const auto pair = static_cast<size_t>(i);
    EXPECT_EQ(ntk.inv_freq[pair], own.inv_freq[pair] / NtkDivisor(i, 32, 2));
    const double share4 = TurnsRampShare(own.inv_freq[pair], 32768, 1, 4);
    EXPECT_EQ(llama3.inv_freq[pair], own.inv_freq[pair] / RampDivisor(share4, 2));
    const double share32 = TurnsRampShare(own.inv_freq[pair], 32768, 1, 32);
    EXPECT_EQ(turns.inv_freq[pair], own.inv_freq[pair] / RampDivisor(share32, 2));
    const double index_share = IndexRampShare(i, 32, 500000, 32768, 1, 32);
    EXPECT_EQ(index.inv_freq[pair], own.inv_freq[pair] / RampDivisor(index_share, 2));
  }
  const double temperature = YarnTemperature(2);
  EXPECT_DOUBLE_EQ(index.query_scale, own.query_scale * temperature * temperature);
  EXPECT_EQ(ntk.query_scale, own.query_scale);
}

// A file that declares YaRN and a request that asks for it come to the same numbers.
TEST(FrequencyScaling, DeclaredAndRequestedYarnAreOneFormula) {
  ModelRotation declared = SmolLm2();
  declared.scaling = ModelRotation::Scaling::kYarn;
  declared.factor = 4;
  declared.original_length = 8192;
  declared.trained_length = 32768;
  const RotaryPlan requested = PlanOf(SmolLm2(), position::Yarn{.factor = 4});
  const RotaryPlan own = Resolver(declared).plain_plan();
  EXPECT_EQ(requested.inv_freq, own.inv_freq);
  EXPECT_EQ(requested.fingerprint, own.fingerprint);
}

TEST(FrequencyScaling, BetaMixedEndsAtNtkFixedAndAtLinear) {
  for (const double factor : {1.0, 1.5, 3.0, 4.0, 8.0, 12.7, 1e9}) {
    for (const ModelRotation& rotation : {SmolLm2(), Stories15M(), Rotation(2, 10, 7)}) {
      EXPECT_EQ(PlanOf(rotation, position::BetaMixed{factor, 1}).inv_freq,
                PlanOf(rotation, position::NtkFixed{factor}).inv_freq);
      EXPECT_EQ(PlanOf(rotation, position::BetaMixed{factor, 0}).fingerprint,
                PlanOf(rotation, position::Linear{factor}).fingerprint);
    }
  }
}

// exp(a m^b) with a (d/2)^b = ln factor (kexue.fm 9706); each a was computed apart from this code.
TEST(FrequencyScaling, BetaMixedIsThePublishedExponential) {
  struct Case {
    int64_t dims;
    double factor, b, a;
  };
  for (const Case& c :
       {Case{64, 4, 0.625, 0.158904692}, Case{64, 4, 0.75, 0.103036945}, Case{48, 8, 0.625, 0.285308486}}) {
    for (int64_t pair = 0; pair < c.dims / 2; ++pair) {
      const double published = std::exp(c.a * std::pow(static_cast<double>(pair + 1), c.b));
      EXPECT_NEAR(BetaMixedDivisor(pair, c.dims, c.factor, c.b) / published, 1, 1e-8);
    }
  }
}

TEST(FrequencyScaling, TheSlowestPairOfNtkIsDividedByExactlyTheFactor) {
  EXPECT_DOUBLE_EQ(NtkDivisor(31, 64, 8), 8);
  EXPECT_DOUBLE_EQ(NtkFixedDivisor(31, 64, 8), 8);
  EXPECT_DOUBLE_EQ(NtkRadixDivisor(31, 64, 8), std::pow(8, 62.0 / 64));
  EXPECT_EQ(NtkDivisor(0, 64, 8), 1);
  EXPECT_EQ(NtkDivisor(0, 2, 8), 1);  // d - 2 is no divisor here
}

TEST(FrequencyScaling, YarnsRampLiesWhereItIsPublished) {
  const auto smol = [](int64_t pair) { return IndexRampShare(pair, 64, 100000, 8192, 1, 32); };
  EXPECT_EQ(smol(10), 1);
  EXPECT_EQ(smol(15), 0.5);
  EXPECT_EQ(smol(20), 0);
  const auto stories = [](int64_t pair) { return IndexRampShare(pair, 48, 10000, 256, 1, 32); };
  EXPECT_EQ(stories(0), 1);
  EXPECT_EQ(stories(5), 0.5);
  EXPECT_EQ(stories(10), 0);
  EXPECT_NEAR(YarnTemperature(4), 1.13862944, 1e-8);
  EXPECT_NEAR(YarnTemperature(8), 1.20794415, 1e-8);
}

TEST(FrequencyScaling, ARampThatAllPairsLieOnOneSideOfKeepsItsDirection) {
  for (int64_t pair = 1; pair < 32; ++pair) {
    EXPECT_EQ(IndexRampShare(pair, 64, 10000, 2, 1, 32), 0) << "no pair turns once within two tokens";
    EXPECT_EQ(IndexRampShare(pair, 64, 10000, int64_t{1} << 60, 1, 32), 1) << "all turn often";
    EXPECT_EQ(IndexRampShare(pair, 64, 10000, 2048, 1e300, 1e308), 0);
    EXPECT_EQ(IndexRampShare(pair, 64, 10000, 2048, std::numeric_limits<double>::denorm_min(), 1e-300), 1);
  }
}

TEST(FrequencyScaling, ARampGoesFromTheFactorToOne) {
  EXPECT_EQ(RampDivisor(0, 4), 4);
  EXPECT_EQ(RampDivisor(1, 4), 1);
  EXPECT_DOUBLE_EQ(1 / RampDivisor(0.25, 4), 0.75 / 4 + 0.25);
  for (double share = 0; share <= 1; share += 0.01) EXPECT_EQ(RampDivisor(share, 1), 1);
}

}  // namespace
}  // namespace longhaul
