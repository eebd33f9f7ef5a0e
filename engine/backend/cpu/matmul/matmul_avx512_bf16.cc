#include <algorithm>
#include <bit>

#include "engine/backend/cpu/half.h"
#include "engine/backend/cpu/matmul/lanes_avx512.h"
#include "engine/backend/cpu/matmul/matmul_kernels.h"
#include "engine/backend/cpu/matmul/quantized_block.h"
#include "engine/backend/cpu/target_region.h"

LH_BEGIN_TARGET("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma,f16c")
#include "engine/backend/cpu/matmul/panel_reader-inl.h"

#include "engine/backend/cpu/matmul/matmul_float-inl.h"

namespace longhaul::cpu {
namespace {

// The instruction's own order within a pair; it treats subnormal numbers as zero.
struct Bf16DotStep {
  static constexpr bool kPairs = true;
  LH_INLINE static Lanes::F Step(Lanes::F sum, Lanes::I weights, Lanes::I x) {
    return _mm512_dpbf16_ps(sum, (__m512bh)x, (__m512bh)weights);
  }
};

}  // namespace

void Bf16MatmulAvx512(const PanelRange& panels, const FloatRows& rows, const FloatScratch& scratch, const Output& out) {
  FloatMatmul<Bf16DotStep>(panels, rows, scratch, out);
}

}  // namespace longhaul::cpu
LH_END_TARGET()
