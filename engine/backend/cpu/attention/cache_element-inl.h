// Reading and rounding the elements of the KV cache, once per instruction set.

#if defined(LONGHAUL_BACKEND_CPU_CACHE_ELEMENT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LONGHAUL_BACKEND_CPU_CACHE_ELEMENT_INL_H_
#undef LONGHAUL_BACKEND_CPU_CACHE_ELEMENT_INL_H_
#else
#define LONGHAUL_BACKEND_CPU_CACHE_ELEMENT_INL_H_
#endif

#include <cstdint>

#include "engine/backend/cpu/attention/kv_cache.h"
#include "engine/backend/cpu/half.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace longhaul::cpu {
namespace HWY_NAMESPACE {

// Lanes(d) elements as f32, exactly.
template <class D>
HWY_INLINE hwy::HWY_NAMESPACE::Vec<D> LoadF32(D d, const float* in) {
  return hwy::HWY_NAMESPACE::LoadU(d, in);
}

template <class D>
HWY_INLINE hwy::HWY_NAMESPACE::Vec<D> LoadF32(D d, const Bf16* in) {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::RebindToUnsigned<D> du;
  const hn::Rebind<uint16_t, D> du16;
  const auto bits = hn::LoadU(du16, reinterpret_cast<const uint16_t*>(in));
  return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(du, bits)));
}

template <class D>
HWY_INLINE hwy::HWY_NAMESPACE::Vec<D> LoadF32(D d, const F16* in) {
  namespace hn = hwy::HWY_NAMESPACE;
#if HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128
  // Highway's portable conversion knows no infinity.
  HWY_ALIGN float wide[HWY_LANES(float)];
  for (size_t i = 0; i < hn::Lanes(d); ++i) wide[i] = HalfToFloat(in[i].bits);
  return hn::Load(d, wide);
#else
  const hn::Rebind<hwy::float16_t, D> df16;
  return hn::PromoteTo(d, hn::LoadU(df16, reinterpret_cast<const hwy::float16_t*>(in)));
#endif
}

// Rounds to nearest, ties to even.
HWY_INLINE void RoundRow(const float* HWY_RESTRICT in, int64_t n, float* HWY_RESTRICT out) {
  for (int64_t i = 0; i < n; ++i) out[i] = in[i];
}

HWY_INLINE void RoundRow(const float* HWY_RESTRICT in, int64_t n, Bf16* HWY_RESTRICT out) {
  for (int64_t i = 0; i < n; ++i) out[i].bits = FloatToBfloat16(in[i]);
}

HWY_INLINE void RoundRow(const float* HWY_RESTRICT in, int64_t n, F16* HWY_RESTRICT out) {
  int64_t i = 0;
#if HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::ScalableTag<float> d;
  const hn::Rebind<hwy::float16_t, decltype(d)> df16;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (; i + lanes <= n; i += lanes) {
    hn::StoreU(hn::DemoteTo(df16, hn::LoadU(d, in + i)), df16, reinterpret_cast<hwy::float16_t*>(out + i));
  }
#endif
  for (; i < n; ++i) out[i].bits = FloatToHalf(in[i]);
}

}  // namespace HWY_NAMESPACE
}  // namespace longhaul::cpu
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
