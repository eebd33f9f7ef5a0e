#pragma once

// GCC 12 warns of the deliberately undefined registers in its own intrinsics.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#include <immintrin.h>

#include <cstdint>

#include "engine/backend/cpu/target_region.h"

LH_BEGIN_TARGET("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")
namespace longhaul::cpu {
namespace {

// 16 lanes of 32 bits, one per output of a panel. The kernels (*-inl.h) are written in these operations alone.
struct Lanes {
  using F = __m512;
  using I = __m512i;
  static constexpr int kInt8Tile = 12;   // rows: 12 sums, 8 groups of codes, 2 scales
  static constexpr int kFloatTile = 12;  // 24 sums, 2 weights

  LH_INLINE static F Zero() { return _mm512_setzero_ps(); }
  LH_INLINE static F LoadF(const void* at) { return _mm512_loadu_ps(at); }
  LH_INLINE static I LoadI(const void* at) { return _mm512_loadu_si512(at); }
  LH_INLINE static void StoreF(F value, void* at) { _mm512_storeu_ps(at, value); }
  LH_INLINE static F BroadcastF(const float* at) { return _mm512_set1_ps(*at); }
  LH_INLINE static I BroadcastI(const void* at) {
    int32_t value;
    __builtin_memcpy(&value, at, sizeof(value));
    return _mm512_set1_epi32(value);
  }
  LH_INLINE static I SetI(int32_t value) { return _mm512_set1_epi32(value); }

  // 16 lanes of 16 or 8 bits, widened.
  LH_INLINE static F LoadHalf(const void* at) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(static_cast<const __m256i*>(at)));
  }
  LH_INLINE static I LoadU16(const void* at) {
    return _mm512_cvtepu16_epi32(_mm256_loadu_si256(static_cast<const __m256i*>(at)));
  }
  LH_INLINE static I LoadU8(const void* at) {
    return _mm512_cvtepu8_epi32(_mm_loadu_si128(static_cast<const __m128i*>(at)));
  }
  LH_INLINE static I LoadS8(const void* at) {
    return _mm512_cvtepi8_epi32(_mm_loadu_si128(static_cast<const __m128i*>(at)));
  }

  LH_INLINE static F ToFloat(I value) { return _mm512_cvtepi32_ps(value); }
  LH_INLINE static F AsFloat(I value) { return _mm512_castsi512_ps(value); }
  LH_INLINE static F Mul(F a, F b) { return _mm512_mul_ps(a, b); }
  LH_INLINE static F Add(F a, F b) { return _mm512_add_ps(a, b); }
  LH_INLINE static F Fma(F a, F b, F sum) { return _mm512_fmadd_ps(a, b, sum); }
  // A step of a float chain: fused where the CPU can.
  LH_INLINE static F MulAdd(F a, F b, F sum) { return _mm512_fmadd_ps(a, b, sum); }

  LH_INLINE static I AddI(I a, I b) { return _mm512_add_epi32(a, b); }
  LH_INLINE static I MulI(I a, I b) { return _mm512_mullo_epi32(a, b); }
  LH_INLINE static I And(I a, I b) { return _mm512_and_si512(a, b); }
  LH_INLINE static I Or(I a, I b) { return _mm512_or_si512(a, b); }
  // Each byte, 0 to 15, as the entry of a table of 16 bytes.
  LH_INLINE static I LookUp(const uint8_t* table, I indices) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(bytes), indices);
  }
  template <int kBits>
  LH_INLINE static I ShiftRight(I value) {
    return _mm512_srli_epi32(value, kBits);
  }
  template <int kBits>
  LH_INLINE static I ShiftLeft(I value) {
    return _mm512_slli_epi32(value, kBits);
  }
};

}  // namespace
}  // namespace longhaul::cpu
LH_END_TARGET()
