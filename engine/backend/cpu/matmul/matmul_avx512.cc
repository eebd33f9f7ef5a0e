#include <algorithm>
#include <bit>
#include <limits>

#include "engine/backend/cpu/half.h"
#include "engine/backend/cpu/matmul/lanes_avx512.h"
#include "engine/backend/cpu/matmul/matmul_kernels.h"
#include "engine/backend/cpu/matmul/quantized_block.h"
#include "engine/backend/cpu/target_region.h"

LH_BEGIN_TARGET("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")
#include "engine/backend/cpu/matmul/panel_reader-inl.h"

#include "engine/backend/cpu/matmul/activations-inl.h"
#include "engine/backend/cpu/matmul/matmul_float-inl.h"
LH_END_TARGET()

namespace longhaul::cpu {

// Without VNNI the AVX2 kernel is as fast, and its results are equal to the bit.
const MatmulKernels& Avx512Kernels() {
  static const MatmulKernels kernels = {
      Avx2Kernels().int8_tile,   Lanes::kFloatTile,    QuantizeRows,         RoundRows,
      Avx2Kernels().int8_matmul, FloatMatmul<F32Step>, FloatMatmul<Bf16Step>};
  return kernels;
}

}  // namespace longhaul::cpu
