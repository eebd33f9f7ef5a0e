#include <algorithm>

#include "engine/backend/cpu/matmul/lanes_avx512.h"
#include "engine/backend/cpu/matmul/matmul_kernels.h"
#include "engine/backend/cpu/matmul/quantized_block.h"
#include "engine/backend/cpu/target_region.h"

LH_BEGIN_TARGET("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")

namespace longhaul::cpu {
namespace {

struct VnniDot {
  template <int kMaxCode>
  LH_INLINE static Lanes::I Step(Lanes::I sum, Lanes::I codes, Lanes::I x) {
    return _mm512_dpbusd_epi32(sum, codes, x);
  }
};

}  // namespace
}  // namespace longhaul::cpu

#include "engine/backend/cpu/matmul/panel_reader-inl.h"

#include "engine/backend/cpu/matmul/matmul_int8-inl.h"

namespace longhaul::cpu {

void Int8MatmulVnni(const PanelRange& panels, const Int8Rows& rows, const Output& out) {
  Int8Matmul<VnniDot>(panels, rows, out);
}

}  // namespace longhaul::cpu
LH_END_TARGET()
