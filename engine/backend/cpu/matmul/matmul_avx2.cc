#include <immintrin.h>

#include <algorithm>
#include <bit>
#include <limits>

#include "engine/backend/cpu/half.h"
#include "engine/backend/cpu/matmul/matmul_kernels.h"
#include "engine/backend/cpu/matmul/quantized_block.h"
#include "engine/backend/cpu/target_region.h"

LH_BEGIN_TARGET("avx2,fma,f16c")

namespace longhaul::cpu {
namespace {

struct FloatLanes {
  __m256 a, b;
};
struct IntLanes {
  __m256i a, b;
};

// As in lanes_avx512.h: 16 lanes, here in two registers.
struct Lanes {
  using F = FloatLanes;
  using I = IntLanes;
  static constexpr int kInt8Tile = 4;
  static constexpr int kFloatTile = 2;  // 8 sums, 4 weights

  LH_INLINE static F Zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
  LH_INLINE static F LoadF(const void* at) {
    const auto* floats = static_cast<const float*>(at);
    return {_mm256_loadu_ps(floats), _mm256_loadu_ps(floats + 8)};
  }
  LH_INLINE static I LoadI(const void* at) {
    const auto* vectors = static_cast<const __m256i*>(at);
    return {_mm256_loadu_si256(vectors), _mm256_loadu_si256(vectors + 1)};
  }
  LH_INLINE static void StoreF(F value, void* at) {
    auto* floats = static_cast<float*>(at);
    _mm256_storeu_ps(floats, value.a);
    _mm256_storeu_ps(floats + 8, value.b);
  }
  LH_INLINE static F BroadcastF(const float* at) {
    const __m256 value = _mm256_broadcast_ss(at);
    return {value, value};
  }
  LH_INLINE static I BroadcastI(const void* at) {
    int32_t value;
    __builtin_memcpy(&value, at, sizeof(value));
    return SetI(value);
  }
  LH_INLINE static I SetI(int32_t value) {
    const __m256i lanes = _mm256_set1_epi32(value);
    return {lanes, lanes};
  }

  LH_INLINE static F LoadHalf(const void* at) {
    const auto* vectors = static_cast<const __m128i*>(at);
    return {_mm256_cvtph_ps(_mm_loadu_si128(vectors)), _mm256_cvtph_ps(_mm_loadu_si128(vectors + 1))};
  }
  LH_INLINE static I LoadU16(const void* at) {
    const auto* vectors = static_cast<const __m128i*>(at);
    return {_mm256_cvtepu16_epi32(_mm_loadu_si128(vectors)), _mm256_cvtepu16_epi32(_mm_loadu_si128(vectors + 1))};
  }
  LH_INLINE static I LoadU8(const void* at) {
    const __m128i bytes = _mm_loadu_si128(static_cast<const __m128i*>(at));
    return {_mm256_cvtepu8_epi32(bytes), _mm256_cvtepu8_epi32(_mm_srli_si128(bytes, 8))};
  }
  LH_INLINE static I LoadS8(const void* at) {
    const __m128i bytes = _mm_loadu_si128(static_cast<const __m128i*>(at));
    return {_mm256_cvtepi8_epi32(bytes), _mm256_cvtepi8_epi32(_mm_srli_si128(bytes, 8))};
  }

  LH_INLINE static F ToFloat(I value) { return {_mm256_cvtepi32_ps(value.a), _mm256_cvtepi32_ps(value.b)}; }
  LH_INLINE static F AsFloat(I value) { return {_mm256_castsi256_ps(value.a), _mm256_castsi256_ps(value.b)}; }
  LH_INLINE static F Mul(F a, F b) { return {_mm256_mul_ps(a.a, b.a), _mm256_mul_ps(a.b, b.b)}; }
  LH_INLINE static F Add(F a, F b) { return {_mm256_add_ps(a.a, b.a), _mm256_add_ps(a.b, b.b)}; }
  LH_INLINE static F Fma(F a, F b, F sum) {
    return {_mm256_fmadd_ps(a.a, b.a, sum.a), _mm256_fmadd_ps(a.b, b.b, sum.b)};
  }
  LH_INLINE static F MulAdd(F a, F b, F sum) { return Fma(a, b, sum); }

  LH_INLINE static I AddI(I a, I b) { return {_mm256_add_epi32(a.a, b.a), _mm256_add_epi32(a.b, b.b)}; }
  LH_INLINE static I MulI(I a, I b) { return {_mm256_mullo_epi32(a.a, b.a), _mm256_mullo_epi32(a.b, b.b)}; }
  LH_INLINE static I And(I a, I b) { return {_mm256_and_si256(a.a, b.a), _mm256_and_si256(a.b, b.b)}; }
  LH_INLINE static I Or(I a, I b) { return {_mm256_or_si256(a.a, b.a), _mm256_or_si256(a.b, b.b)}; }
  LH_INLINE static I LookUp(const uint8_t* table, I indices) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
    const __m256i both = _mm256_broadcastsi128_si256(bytes);
    return {_mm256_shuffle_epi8(both, indices.a), _mm256_shuffle_epi8(both, indices.b)};
  }
  template <int kBits>
  LH_INLINE static I ShiftRight(I value) {
    return {_mm256_srli_epi32(value.a, kBits), _mm256_srli_epi32(value.b, kBits)};
  }
  template <int kBits>
  LH_INLINE static I ShiftLeft(I value) {
    return {_mm256_slli_epi32(value.a, kBits), _mm256_slli_epi32(value.b, kBits)};
  }
};

struct Avx2Dot {
  template <int kMaxCode>
  LH_INLINE static Lanes::I Step(Lanes::I sum, Lanes::I codes, Lanes::I x) {
    return {Step<kMaxCode>(sum.a, codes.a, x.a), Step<kMaxCode>(sum.b, codes.b, x.b)};
  }
  template <int kMaxCode>
  LH_INLINE static __m256i Step(__m256i sum, __m256i codes, __m256i x) {
    if constexpr (kMaxCode < 128) {
      // Two products of at most 127 * 128 fit in the 16 bits that this instruction saturates to.
      const __m256i pairs = _mm256_maddubs_epi16(codes, x);
      return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
    } else {
      const __m256i even = _mm256_madd_epi16(_mm256_and_si256(codes, _mm256_set1_epi16(255)),
                                             _mm256_srai_epi16(_mm256_slli_epi16(x, 8), 8));
      const __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(codes, 8), _mm256_srai_epi16(x, 8));
      return _mm256_add_epi32(sum, _mm256_add_epi32(even, odd));
    }
  }
};

}  // namespace
}  // namespace longhaul::cpu

#include "engine/backend/cpu/matmul/panel_reader-inl.h"

#include "engine/backend/cpu/matmul/activations-inl.h"
#include "engine/backend/cpu/matmul/matmul_float-inl.h"
#include "engine/backend/cpu/matmul/matmul_int8-inl.h"
LH_END_TARGET()

namespace longhaul::cpu {

const MatmulKernels& Avx2Kernels() {
  static const MatmulKernels kernels = {Lanes::kInt8Tile,    Lanes::kFloatTile,    QuantizeRows,         RoundRows,
                                        Int8Matmul<Avx2Dot>, FloatMatmul<F32Step>, FloatMatmul<Bf16Step>};
  return kernels;
}

}  // namespace longhaul::cpu
