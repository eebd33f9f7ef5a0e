#include "engine/position/plan_interner.h"

#include <gtest/gtest.h>

#include <vector>

namespace longhaul {
namespace {

RotaryPlan PlanOf(double theta) {
  RotaryPlan plan;
  plan.inv_freq = {theta};
  SetFingerprint(plan);
  return plan;
}

TEST(PlanInterner, EqualNumbersAreOneObject) {
  PlanInterner interner;
  const auto one = interner.Intern(PlanOf(1));
  EXPECT_EQ(interner.Intern(PlanOf(1)), one);
  EXPECT_NE(interner.Intern(PlanOf(2)), one);
  EXPECT_EQ(one->inv_freq, std::vector<double>{1});
}

TEST(PlanInterner, ForgetsPlansThatNobodyHolds) {
  PlanInterner interner;
  const auto held = interner.Intern(PlanOf(0.5));
  for (int i = 1; i <= 10000; ++i) interner.Intern(PlanOf(i));
  EXPECT_LE(interner.size(), 32u);
  EXPECT_EQ(interner.Intern(PlanOf(0.5)), held);
}

}  // namespace
}  // namespace longhaul
