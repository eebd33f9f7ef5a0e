#include "engine/base/instruction_set.h"

#include <gtest/gtest.h>

#include "hwy/targets.h"

namespace longhaul {
namespace {

constexpr InstructionSet kAll[] = {InstructionSet::kPortable, InstructionSet::kAvx2, InstructionSet::kAvx512};

TEST(InstructionSet, EveryNameParsesUpToWhatTheCpuHas) {
  for (InstructionSet set : kAll) {
    const auto parsed = ParseInstructionSet(InstructionSetName(set));
    if (set <= DetectInstructionSet()) {
      ASSERT_TRUE(parsed.ok()) << parsed.status();
      EXPECT_EQ(*parsed, set);
    } else {
      EXPECT_EQ(parsed.status().code(), absl::StatusCode::kFailedPrecondition);
    }
  }
  EXPECT_EQ(ParseInstructionSet("auto").value(), DetectInstructionSet());
}

TEST(InstructionSet, AnotherNameIsRefused) {
  for (const char* name : {"", "AVX2", "avx", "neon", "auto "}) {
    EXPECT_EQ(ParseInstructionSet(name).status().code(), absl::StatusCode::kInvalidArgument) << name;
  }
}

TEST(InstructionSet, LimitsTheVectorKernelsToo) {
  for (InstructionSet set : kAll) {
    if (set > DetectInstructionSet()) continue;
    UseInstructionSet(set);
    EXPECT_EQ(ActiveInstructionSet(), set);
    const int64_t avx512 = HWY_AVX3 | HWY_AVX3_DL;
    EXPECT_EQ((hwy::SupportedTargets() & avx512) != 0, set == InstructionSet::kAvx512);
    EXPECT_EQ((hwy::SupportedTargets() & HWY_AVX2) != 0, set >= InstructionSet::kAvx2);
    if (set != InstructionSet::kAvx512) {
      EXPECT_FALSE(ActiveHasVnni());
      EXPECT_FALSE(ActiveHasBf16());
    }
  }
  UseInstructionSet(DetectInstructionSet());
}

}  // namespace
}  // namespace longhaul
