#pragma once

#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace longhaul {

// What the CPU kernels are allowed to use. kAvx512 includes F, BW, DQ, VL; VNNI and BF16 are asked for one by one.
enum class InstructionSet { kPortable, kAvx2, kAvx512 };

// "portable", "avx2", "avx512".
std::string_view InstructionSetName(InstructionSet set);

// Accepts the names above and "auto" (the best that the CPU has). INVALID_ARGUMENT on another name, FAILED_PRECONDITION
// where the CPU lacks it.
absl::StatusOr<InstructionSet> ParseInstructionSet(std::string_view name);

// The best that this CPU has.
InstructionSet DetectInstructionSet();

// Limits every kernel of the process, Highway's and our own, to `set`. Not thread-safe: call it before a backend is
// made or between two. REQUIRES: the CPU has it.
void UseInstructionSet(InstructionSet set);

// What UseInstructionSet set last, else DetectInstructionSet().
InstructionSet ActiveInstructionSet();

// Whether kAvx512 is active and the CPU also has the int8 (VNNI) or the BF16 dot products.
bool ActiveHasVnni();
bool ActiveHasBf16();

}  // namespace longhaul
