#include "engine/position/position_mode.h"

#include <gtest/gtest.h>

#include "tests/engine/position/position_test_models.h"

namespace longhaul {
namespace {

TEST(PositionMode, IsAutoUnlessSaid) {
  EXPECT_STREQ(Name(PositionMode{}), "auto");
}

TEST(PositionMode, IsNamedAsOnTheWire) {
  EXPECT_STREQ(Name(Mode(position::None())), "none");
  EXPECT_STREQ(Name(Mode(position::Linear())), "linear");
  EXPECT_STREQ(Name(Mode(position::Ntk())), "ntk");
  EXPECT_STREQ(Name(Mode(position::NtkFixed())), "ntk_fixed");
  EXPECT_STREQ(Name(Mode(position::BetaMixed())), "beta_mixed");
  EXPECT_STREQ(Name(Mode(position::Yarn())), "yarn");
  EXPECT_STREQ(Name(Mode(position::Llama3())), "llama3");
  EXPECT_STREQ(Name(Mode(position::PerPair())), "per_pair");
  EXPECT_STREQ(Name(Mode(position::Rerope())), "rerope");
  EXPECT_STREQ(Name(Mode(position::LeakyRerope())), "leaky_rerope");
  EXPECT_STREQ(Name(Mode(position::SelfExtend())), "self_extend");
}

TEST(PositionMode, HasANameAtEachPlaceOfItsKind) {
  EXPECT_STREQ(PositionModeName(0), "auto");
  EXPECT_STREQ(PositionModeName(Mode(position::SelfExtend()).kind.index()), "self_extend");
}

}  // namespace
}  // namespace longhaul
