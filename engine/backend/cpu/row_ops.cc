#include "engine/backend/cpu/row_ops.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/backend/cpu/row_ops.cc"
#include "hwy/foreach_target.h"
// The line above compiles this file once per instruction set.
#include <cmath>
#include <cstddef>

#include "engine/base/exp-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace longhaul::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;
constexpr int64_t kLanes = HWY_LANES(float);

// Element i belongs to partial sum i % 32, whatever the vectors' width is.
constexpr int64_t kSums = 32;
constexpr int64_t kSumVectors = kSums / kLanes;

float SumOfSquares(const float* in, int64_t width) {
  const D d;
  V sums[kSumVectors];
  for (V& sum : sums) sum = hn::Zero(d);
  int64_t i = 0;
  for (; i + kSums <= width; i += kSums) {
    for (int64_t v = 0; v < kSumVectors; ++v) {
      const V x = hn::LoadU(d, in + i + v * kLanes);
      sums[v] = hn::MulAdd(x, x, sums[v]);
    }
  }
  HWY_ALIGN float partial[kSums];
  for (int64_t v = 0; v < kSumVectors; ++v) hn::Store(sums[v], d, partial + v * kLanes);
  const hn::CappedTag<float, 1> d1;
  for (int64_t j = 0; i + j < width; ++j) {
    const auto x = hn::LoadU(d1, in + i + j);
    hn::Store(hn::MulAdd(x, x, hn::Load(d1, partial + j)), d1, partial + j);
  }
  for (int64_t half = kSums / 2; half > 0; half /= 2) {
    for (int64_t j = 0; j < half; ++j) partial[j] += partial[j + half];
  }
  return partial[0];
}

void RmsNorm(const float* in, const float* weight, float epsilon, int64_t width, float* out) {
  const float scale = 1.0f / std::sqrt(SumOfSquares(in, width) / static_cast<float>(width) + epsilon);
  const auto norm = [&](auto d, int64_t i) HWY_ATTR {
    const auto x = hn::Mul(hn::LoadU(d, in + i), hn::Set(d, scale));
    hn::StoreU(hn::Mul(x, hn::LoadU(d, weight + i)), d, out + i);
  };
  int64_t i = 0;
  for (; i + kLanes <= width; i += kLanes) norm(D(), i);
  for (; i < width; ++i) norm(hn::CappedTag<float, 1>(), i);
}

void Add(const float* in, int64_t width, float* inout) {
  for (int64_t i = 0; i < width; ++i) inout[i] += in[i];
}

void SwiGlu(const float* gate, const float* up, int64_t width, float* out) {
  const auto gated = [&](auto d, int64_t i) HWY_ATTR {
    const auto g = hn::LoadU(d, gate + i);
    const auto silu = hn::Div(g, hn::Add(hn::Set(d, 1.0f), longhaul::HWY_NAMESPACE::Exp(d, hn::Neg(g))));
    hn::StoreU(hn::Mul(silu, hn::LoadU(d, up + i)), d, out + i);
  };
  int64_t i = 0;
  for (; i + kLanes <= width; i += kLanes) gated(D(), i);
  for (; i < width; ++i) gated(hn::CappedTag<float, 1>(), i);
}

}  // namespace HWY_NAMESPACE
}  // namespace longhaul::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace longhaul::cpu {

HWY_EXPORT(RmsNorm);
HWY_EXPORT(Add);
HWY_EXPORT(SwiGlu);

void RmsNormRow(const float* in, const float* weight, float epsilon, int64_t width, float* out) {
  HWY_DYNAMIC_DISPATCH(RmsNorm)(in, weight, epsilon, width, out);
}

void AddRow(const float* in, int64_t width, float* inout) {
  HWY_DYNAMIC_DISPATCH(Add)(in, width, inout);
}

void SwiGluRow(const float* gate, const float* up, int64_t width, float* out) {
  HWY_DYNAMIC_DISPATCH(SwiGlu)(gate, up, width, out);
}

}  // namespace longhaul::cpu
#endif
