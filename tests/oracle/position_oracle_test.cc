// Every position mode in the engine against the goldens of position_modes.py, far beyond the trained length.

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/position/position_resolver.h"
#include "tests/oracle/oracle_support.h"

namespace longhaul {
namespace {

constexpr Bound kBound = {1e-4, 5e-3};  // f32
// In f32 and six layers 8,600 tokens take 80 MB, and a ring comes beside them.
constexpr int64_t kCacheBytes = int64_t{128} << 20;
// So many steps of one token end every text: decoding is held against the goldens as well.
constexpr int64_t kOneByOne = 32;

// A mode as goldens hold it: the fields of the wire's messages, every number given.
PositionMode ModeOf(const nlohmann::json& json) {
  const auto number = [&](const char* name) { return json.at(name).get<double>(); };
  const auto tokens = [&](const char* name) { return json.at(name).get<int64_t>(); };
  const auto text = [&](const char* name) { return json.at(name).get<std::string>(); };
  const std::string kind = text("kind");
  PositionMode mode;
  if (kind == "none") {
    mode.kind = position::None{};
  } else if (kind == "linear") {
    mode.kind = position::Linear{number("factor")};
  } else if (kind == "ntk") {
    const auto variant = text("variant") == "radix" ? position::Ntk::Variant::kRadix : position::Ntk::Variant::kBloc97;
    mode.kind = position::Ntk{number("factor"), variant};
  } else if (kind == "ntk_fixed") {
    mode.kind = position::NtkFixed{number("factor")};
  } else if (kind == "beta_mixed") {
    mode.kind = position::BetaMixed{number("factor"), number("b")};
  } else if (kind == "yarn") {
    const auto ramp = text("ramp") == "turns" ? position::Yarn::Ramp::kTurns : position::Yarn::Ramp::kIndex;
    mode.kind = position::Yarn{number("factor"), number("alpha"), number("beta"), ramp};
  } else if (kind == "llama3") {
    mode.kind = position::Llama3{number("factor"), number("low_freq_factor"), number("high_freq_factor")};
  } else if (kind == "per_pair") {
    mode.kind = position::PerPair{json.at("factors"), number("query_scale")};
  } else if (kind == "rerope") {
    mode.kind = position::Rerope{tokens("window")};
  } else if (kind == "leaky_rerope") {
    mode.kind = position::LeakyRerope{tokens("window"), tokens("step")};
  } else if (kind == "self_extend") {
    mode.kind = position::SelfExtend{tokens("group"), tokens("window")};
  } else {
    ADD_FAILURE() << "unknown kind " << kind;
  }
  if (json.contains("log_n")) mode.log_n = position::LogNSwitch{tokens("log_n")};
  mode.trained_length = json.value("trained_length", int64_t{0});
  mode.allow_beyond_reach = json.value("allow_beyond_reach", false);
  return mode;
}

class PositionOracleTest : public ::testing::TestWithParam<const char*> {};

TEST_P(PositionOracleTest, LikelihoodsAndLogitsAreThoseOfTheOracle) {
  const nlohmann::json golden = ReadGolden(std::string("position_") + GetParam());
  const ModelFile model = FirstLayers(golden["n_layers"]);
  const auto runner = MakeRunner(ComputeType::kF32, CacheType::kF32, kCacheBytes, model);
  ASSERT_NE(runner, nullptr);
  auto ids = ReadGolden("position_text")["ids"].get<std::vector<TokenId>>();
  ASSERT_LE(golden["n_tokens"], ids.size());
  ids.resize(golden["n_tokens"]);

  const auto resolver = PositionResolver::Create(TestModel().config.rotation, DefaultLongMode(), 0);
  ASSERT_TRUE(resolver.ok()) << resolver.status();
  const auto resolved = resolver->Resolve(ModeOf(golden["mode"]), golden["n_tokens"]);
  ASSERT_TRUE(resolved.ok()) << golden["text"] << ": " << resolved.status();
  EXPECT_FALSE(resolved->refit) << golden["text"];
  if (resolved->reach.has_value() && !resolved->mode.allow_beyond_reach) {
    EXPECT_GE(*resolved->reach, static_cast<int64_t>(ids.size())) << golden["text"];
  }

  const Comparison comparison = Compare(*runner, resolved->plan, ids, golden, kOneByOne);
  ExpectWithin(comparison, kBound.max, GetParam());
  EXPECT_LE(comparison.nll.mean(), kBound.mean) << golden["text"];
}

std::string CaseName(const ::testing::TestParamInfo<const char*>& info) {
  return info.param;
}

INSTANTIATE_TEST_SUITE_P(, PositionOracleTest,
                         ::testing::Values("linear", "ntk_bloc97", "ntk_radix", "ntk_fixed", "beta_mixed",
                                           "beta_mixed_preset", "yarn_index", "yarn_turns", "llama3", "per_pair",
                                           "rerope", "rerope_log_n", "leaky_rerope", "leaky_rerope_log_n",
                                           "self_extend", "log_n", "long_yarn", "long_rerope"),
                         CaseName);

}  // namespace
}  // namespace longhaul
