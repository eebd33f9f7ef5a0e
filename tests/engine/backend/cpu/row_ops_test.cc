#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tests/engine/backend/cpu/row_ops_test.cc"
#include "hwy/foreach_target.h"
// The line above compiles this file once per instruction set.
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "engine/backend/cpu/row_ops.h"
#include "engine/base/exp-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace longhaul {
namespace HWY_NAMESPACE {

// Of every element in its own lane and in lane 0 of a vector of one: false where they differ.
bool ExpRow(const float* in, size_t n, float* out) {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::ScalableTag<float> d;
  const hn::CappedTag<float, 1> d1;
  bool same = true;
  for (size_t i = 0; i + hn::Lanes(d) <= n; i += hn::Lanes(d)) hn::StoreU(Exp(d, hn::LoadU(d, in + i)), d, out + i);
  for (size_t i = 0; i < n; ++i) {
    float alone;
    hn::StoreU(Exp(d1, hn::LoadU(d1, in + i)), d1, &alone);
    same = same && std::memcmp(&alone, out + i, sizeof alone) == 0;
  }
  return same;
}

const char* TargetOfThisCode() {
  return hwy::TargetName(HWY_TARGET);
}

}  // namespace HWY_NAMESPACE
}  // namespace longhaul
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/backend/cpu/each_instruction_set.h"

namespace longhaul {
namespace {

HWY_EXPORT(ExpRow);
HWY_EXPORT(TargetOfThisCode);

TEST(InstructionSetTest, EverySetIsUsedWhenAskedForAlsoALargerOneLater) {
  const InstructionSet best = DetectInstructionSet();
  for (InstructionSet set : {best, InstructionSet::kPortable, best, InstructionSet::kAvx2, best}) {
    if (set > best) continue;
    UseInstructionSet(set);
    const std::string target = HWY_DYNAMIC_DISPATCH(TargetOfThisCode)();
    switch (set) {
      case InstructionSet::kPortable:
        EXPECT_THAT(target, testing::AnyOf("SCALAR", "EMU128"));
        break;
      case InstructionSet::kAvx2:
        EXPECT_EQ(target, "AVX2");
        break;
      case InstructionSet::kAvx512:
        EXPECT_EQ(target, "AVX3");
        break;
    }
  }
  UseInstructionSet(best);
}

using ExpTest = EachInstructionSet;
INSTANTIATE_TEST_SUITE_P(, ExpTest, testing::ValuesIn(AvailableInstructionSets()), InstructionSetTestName);

TEST_P(ExpTest, IsWithinOneUlpAndTheSameInEveryLane) {
  std::vector<float> x;
  for (float v = -87.3365f; v < 88.7228f; v += 0.00037f) x.push_back(v);
  for (float v = -1e-3f; v < 1e-3f; v += 1.3e-7f) x.push_back(v);
  x.resize(x.size() / 16 * 16);
  std::vector<float> y(x.size());
  EXPECT_TRUE(HWY_DYNAMIC_DISPATCH(ExpRow)(x.data(), x.size(), y.data()));
  double worst = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double exact = std::exp(static_cast<double>(x[i]));
    const double ulp = std::ldexp(1.0, std::ilogb(exact) - 23);
    worst = std::max(worst, std::abs(static_cast<double>(y[i]) - exact) / ulp);
  }
  EXPECT_LT(worst, 1.0);
}

TEST_P(ExpTest, HandlesTheEnds) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  std::vector<float> x = {-kInfinity, -1e30f, -200.0f, -87.34f, 0.0f, -0.0f, 88.73f, 1e30f, kInfinity, std::nanf("")};
  x.resize(16);
  std::vector<float> y(x.size());
  EXPECT_TRUE(HWY_DYNAMIC_DISPATCH(ExpRow)(x.data(), x.size(), y.data()));
  EXPECT_TRUE(std::isnan(y[9]));
  y.resize(9);
  EXPECT_THAT(y, testing::ElementsAre(0, 0, 0, 0, 1, 1, kInfinity, kInfinity, kInfinity));
  EXPECT_FALSE(std::signbit(y[0]));
}

}  // namespace

namespace cpu {
namespace {

using RowOpsTest = EachInstructionSet;
INSTANTIATE_TEST_SUITE_P(, RowOpsTest, testing::ValuesIn(AvailableInstructionSets()), InstructionSetTestName);

std::vector<float> RandomRow(int64_t width, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 3);
  std::vector<float> row(static_cast<size_t>(width));
  for (float& x : row) x = normal(random);
  return row;
}

TEST_P(RowOpsTest, RmsNormIsThatOfDoubles) {
  for (int64_t width : {1, 7, 16, 33, 576, 1000}) {
    const std::vector<float> in = RandomRow(width, 1), weight = RandomRow(width, 2);
    double squares = 0;
    for (float x : in) squares += static_cast<double>(x) * static_cast<double>(x);
    const double norm = std::sqrt(squares / static_cast<double>(width) + 1e-5);
    std::vector<float> out = in;
    RmsNormRow(out.data(), weight.data(), 1e-5f, width, out.data());
    for (size_t i = 0; i < out.size(); ++i) {
      const double exact = static_cast<double>(in[i]) / norm * static_cast<double>(weight[i]);
      EXPECT_NEAR(static_cast<double>(out[i]), exact, 5e-7 * std::abs(exact)) << width << " " << i;
    }
  }
}

TEST_P(RowOpsTest, SwiGluIsThatOfDoubles) {
  for (int64_t width : {1, 7, 16, 33, 1536}) {
    std::vector<float> gate = RandomRow(width, 3);
    const std::vector<float> up = RandomRow(width, 4);
    gate[0] = -100;  // exp(100) overflows: the result is -0
    std::vector<float> out(gate.size());
    SwiGluRow(gate.data(), up.data(), width, out.data());
    EXPECT_EQ(out[0], 0);
    for (size_t i = 1; i < out.size(); ++i) {
      const double g = static_cast<double>(gate[i]);
      const double exact = g / (1 + std::exp(-g)) * static_cast<double>(up[i]);
      EXPECT_NEAR(static_cast<double>(out[i]), exact, 5e-7 * std::abs(exact)) << width << " " << i;
    }
  }
}

}  // namespace
}  // namespace cpu
}  // namespace longhaul
#endif
