// The one exponential of the engine, for Highway code: include it after hwy/highway.h's foreach_target, once per
// instruction set.

#if defined(LONGHAUL_BASE_EXP_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LONGHAUL_BASE_EXP_INL_H_
#undef LONGHAUL_BASE_EXP_INL_H_
#else
#define LONGHAUL_BASE_EXP_INL_H_
#endif

#include <cstdint>
#include <limits>

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace longhaul {
namespace HWY_NAMESPACE {

// exp(x) of f32 lanes within 1 ulp. Exactly 0 where the result would be less than the least normal float, at -infinity
// too; infinity past the largest one; NaN of NaN; 1 of 0. A lane's result depends on its argument alone; across
// instruction sets the last bit may differ, because portable code has no fused multiply-add.
template <class D, class V = hwy::HWY_NAMESPACE::Vec<D>>
HWY_INLINE V Exp(D d, V x) {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::RebindToUnsigned<D> du;

  // x = n ln 2 + r with |r| <= ln 2 / 2. Adding 1.5 * 2^23 rounds to an integer, which then stands in the low bits. The
  // first part of ln 2 is so short that its products with n are exact.
  const V shift = hn::Set(d, 12582912.0f);
  const V shifted = hn::MulAdd(x, hn::Set(d, 1.44269504f), shift);
  const V n = hn::Sub(shifted, shift);
  V r = hn::NegMulAdd(n, hn::Set(d, 0x1.62e4p-1f), x);
  r = hn::NegMulAdd(n, hn::Set(d, 0x1.7f7d1cp-20f), r);

  // exp(r) = 1 + r + r^2 q(r); q is the minimax polynomial of relative error 4e-9.
  V q = hn::MulAdd(hn::Set(d, 0x1.6a23cep-10f), r, hn::Set(d, 0x1.123a2p-7f));
  q = hn::MulAdd(q, r, hn::Set(d, 0x1.5558f2p-5f));
  q = hn::MulAdd(q, r, hn::Set(d, 0x1.555492p-3f));
  q = hn::MulAdd(q, r, hn::Set(d, 0x1.fffffcp-2f));
  const V y = hn::Add(hn::MulAdd(q, hn::Mul(r, r), r), hn::Set(d, 1.0f));

  // Times 2^n, by the exponent's bits.
  const V scaled = hn::BitCast(d, hn::Add(hn::BitCast(du, y), hn::ShiftLeft<23>(hn::BitCast(du, shifted))));
  const V infinity = hn::Set(d, std::numeric_limits<float>::infinity());
  const V finite_or_more = hn::IfThenElse(hn::Le(x, hn::Set(d, 88.722832f)), scaled, hn::Add(x, infinity));
  return hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, -87.336540f)), finite_or_more);
}

}  // namespace HWY_NAMESPACE
}  // namespace longhaul
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
