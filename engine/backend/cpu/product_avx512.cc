#include <algorithm>
#include <bit>
#include <limits>

#include "engine/backend/cpu/half.h"
#include "engine/backend/cpu/lanes_avx512.h"
#include "engine/backend/cpu/product_kernels.h"
#include "engine/backend/cpu/target_region.h"

LH_BEGIN_TARGET("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")
#include "engine/backend/cpu/activations-inl.h"
#include "engine/backend/cpu/panel_reader-inl.h"
#include "engine/backend/cpu/product_float-inl.h"
LH_END_TARGET()

namespace longhaul::cpu {

// Without VNNI the AVX2 products are as good; the results are equal to the bit.
const ProductKernels& Avx512Kernels() {
  static const ProductKernels kernels = {
      Avx2Kernels().int8_tile,    Lanes::kFloatTile,     QuantizeRows,          RoundRows,
      Avx2Kernels().int8_product, FloatProduct<F32Step>, FloatProduct<Bf16Step>};
  return kernels;
}

}  // namespace longhaul::cpu
