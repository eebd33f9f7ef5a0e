#include "engine/backend/cpu/product_kernels.h"

#include "engine/base/instruction_set.h"

namespace longhaul::cpu {
namespace {

ProductKernels Avx512With(bool vnni, bool bf16) {
  ProductKernels kernels = Avx512Kernels();
  if (vnni) {
    kernels.int8_tile = 12;
    kernels.int8_product = Int8ProductVnni;
  }
  if (bf16) kernels.bf16_product = Bf16ProductAvx512;
  return kernels;
}

}  // namespace

const ProductKernels& ActiveProductKernels() {
  switch (ActiveInstructionSet()) {
    case InstructionSet::kPortable:
      break;
    case InstructionSet::kAvx2:
      return Avx2Kernels();
    case InstructionSet::kAvx512: {
      static const ProductKernels kernels = Avx512With(ActiveHasVnni(), ActiveHasBf16());
      return kernels;
    }
  }
  return PortableKernels();
}

}  // namespace longhaul::cpu
