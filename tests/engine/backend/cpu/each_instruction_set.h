#pragma once

#include <string>
#include <vector>

#include "engine/base/instruction_set.h"
#include "gtest/gtest.h"

namespace longhaul {

// Those that this CPU has.
inline std::vector<InstructionSet> AvailableInstructionSets() {
  std::vector<InstructionSet> sets;
  for (InstructionSet set : {InstructionSet::kPortable, InstructionSet::kAvx2, InstructionSet::kAvx512}) {
    if (set <= DetectInstructionSet()) sets.push_back(set);
  }
  return sets;
}

// A test that runs with each of them: INSTANTIATE_TEST_SUITE_P(, Name, ValuesIn(AvailableInstructionSets()),
// InstructionSetTestName).
class EachInstructionSet : public testing::TestWithParam<InstructionSet> {
 protected:
  void SetUp() override { UseInstructionSet(GetParam()); }
  void TearDown() override { UseInstructionSet(DetectInstructionSet()); }
};

inline std::string InstructionSetTestName(const testing::TestParamInfo<InstructionSet>& info) {
  return std::string(InstructionSetName(info.param));
}

}  // namespace longhaul
