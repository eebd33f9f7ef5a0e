#include "engine/backend/cpu/matmul/matmul_kernels.h"

#include "engine/base/instruction_set.h"

namespace longhaul::cpu {
namespace {

MatmulKernels Avx512With(bool vnni, bool bf16) {
  MatmulKernels kernels = Avx512Kernels();
  if (vnni) {
    kernels.int8_tile = 12;
    kernels.int8_matmul = Int8MatmulVnni;
  }
  if (bf16) kernels.bf16_matmul = Bf16MatmulAvx512;
  return kernels;
}

}  // namespace

const MatmulKernels& ActiveMatmulKernels() {
  switch (ActiveInstructionSet()) {
    case InstructionSet::kPortable:
      break;
    case InstructionSet::kAvx2:
      return Avx2Kernels();
    case InstructionSet::kAvx512: {
      static const MatmulKernels kernels = Avx512With(ActiveHasVnni(), ActiveHasBf16());
      return kernels;
    }
  }
  return PortableKernels();
}

}  // namespace longhaul::cpu
