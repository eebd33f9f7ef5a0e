// The engine against the goldens of forward.py on a small random model of each family.

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/model/gguf/gguf.h"
#include "tests/oracle/family_models.h"
#include "tests/oracle/oracle_support.h"
#include "tests/support/hand_batch.h"

namespace longhaul {
namespace {

class FamilyOracleTest : public ::testing::TestWithParam<std::string> {};

TEST_P(FamilyOracleTest, LikelihoodsAndLogitsAreThoseOfTheOracle) {
  const std::vector<std::byte> bytes = FamilyModel(GetParam()).Build();
  auto checkpoint = ReadGguf(SourceOf(bytes, GetParam()));
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const auto model = LoadModelFile(*std::move(checkpoint));
  ASSERT_TRUE(model.ok()) << model.status();
  const auto runner = MakeRunner(ComputeType::kF32, CacheType::kF32, int64_t{4} << 20, *model);
  ASSERT_NE(runner, nullptr);
  const nlohmann::json golden = ReadGolden("family_" + GetParam());
  // The last tokens one by one, as in an answer.
  const Comparison c = Compare(*runner, *PlainPlan(model->config.rotation), golden["ids"], golden, 20);
  ExpectWithin(c, 1e-4, GetParam());
  EXPECT_LE(c.nll.mean(), 1e-5);
}

INSTANTIATE_TEST_SUITE_P(, FamilyOracleTest, ::testing::ValuesIn(FamilyModelNames()),
                         [](const auto& param) { return param.param; });

}  // namespace
}  // namespace longhaul
