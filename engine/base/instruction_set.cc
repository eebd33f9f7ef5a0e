#include "engine/base/instruction_set.h"

#include <cstdint>

#include "absl/strings/str_cat.h"
#include "engine/base/strings.h"
#include "hwy/targets.h"

namespace longhaul {
namespace {

InstructionSet& Active() {
  static InstructionSet active = DetectInstructionSet();
  return active;
}

}  // namespace

std::string_view InstructionSetName(InstructionSet set) {
  switch (set) {
    case InstructionSet::kPortable:
      return "portable";
    case InstructionSet::kAvx2:
      return "avx2";
    case InstructionSet::kAvx512:
      return "avx512";
  }
  return "unknown";
}

InstructionSet DetectInstructionSet() {
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl")) {
    return InstructionSet::kAvx512;
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return InstructionSet::kAvx2;
  return InstructionSet::kPortable;
}

absl::StatusOr<InstructionSet> ParseInstructionSet(std::string_view name) {
  const InstructionSet best = DetectInstructionSet();
  if (name == "auto") return best;
  for (InstructionSet set : {InstructionSet::kPortable, InstructionSet::kAvx2, InstructionSet::kAvx512}) {
    if (name != InstructionSetName(set)) continue;
    if (set > best) {
      return absl::FailedPreconditionError(absl::StrCat("this CPU lacks the instruction set '", ToAbsl(name),
                                                        "'; the best it has is '", ToAbsl(InstructionSetName(best)),
                                                        "'"));
    }
    return set;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("instruction set '", ToAbsl(name), "' is not one of auto, portable, avx2, avx512"));
}

void UseInstructionSet(InstructionSet set) {
  Active() = set;
  int64_t disabled = 0;
  if (set < InstructionSet::kAvx512) disabled |= HWY_AVX3 | HWY_AVX3_DL;
  if (set < InstructionSet::kAvx2) disabled |= HWY_AVX2;
  hwy::DisableTargets(disabled);
}

InstructionSet ActiveInstructionSet() {
  return Active();
}

bool ActiveHasVnni() {
  return Active() == InstructionSet::kAvx512 && __builtin_cpu_supports("avx512vnni");
}

bool ActiveHasBf16() {
  return Active() == InstructionSet::kAvx512 && __builtin_cpu_supports("avx512bf16");
}

}  // namespace longhaul
