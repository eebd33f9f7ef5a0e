#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/decoding/logit_kernels.cc"
#include "hwy/foreach_target.h"
// The line above compiles this file once per instruction set.
#include <algorithm>
#include <limits>

#include "engine/base/exp-inl.h"
#include "engine/decoding/logit_kernels.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace longhaul {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;
constexpr size_t kLanes = HWY_LANES(float);
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Sums run in 64 lanes on every instruction set.
constexpr size_t kSumLanes = 64;
constexpr size_t kSumVectors = kSumLanes / kLanes;
static_assert(kSumLanes % kLanes == 0 && kCellStride % kLanes == 0);

float MaxLogit(std::span<const float> logits) {
  const D d;
  V max = hn::Set(d, -kInfinity);
  auto nan = hn::IsNaN(max);
  size_t i = 0;
  for (; i + kLanes <= logits.size(); i += kLanes) {
    const V x = hn::LoadU(d, logits.data() + i);
    nan = hn::Or(nan, hn::IsNaN(x));
    max = hn::Max(max, x);
  }
  if (!hn::AllFalse(d, nan)) return std::numeric_limits<float>::quiet_NaN();
  float result = hn::GetLane(hn::MaxOfLanes(d, max));
  for (; i < logits.size(); ++i) {
    if (logits[i] != logits[i]) return logits[i];
    result = std::max(result, logits[i]);
  }
  return result;
}

double SumExpOfRange(const float* logits, size_t n, float max, float scale) {
  const D d;
  const V max_v = hn::Set(d, max), scale_v = hn::Set(d, scale);
  V sums[kSumVectors];
  for (V& sum : sums) sum = hn::Zero(d);
  const auto add = [&](const float* x) {
    for (size_t v = 0; v < kSumVectors; ++v) {
      sums[v] = hn::Add(sums[v], Exp(d, hn::Mul(hn::Sub(hn::LoadU(d, x + v * kLanes), max_v), scale_v)));
    }
  };
  size_t i = 0;
  for (; i + kSumLanes <= n; i += kSumLanes) add(logits + i);
  float lanes[kSumLanes];
  if (i < n) {
    std::fill(std::copy(logits + i, logits + n, lanes), lanes + kSumLanes, -kInfinity);
    add(lanes);
  }
  for (size_t v = 0; v < kSumVectors; ++v) hn::StoreU(sums[v], d, lanes + v * kLanes);
  double sum = 0;
  for (float lane : lanes) sum += static_cast<double>(lane);
  return sum;
}

bool CellMaxima(std::span<const float> logits, float* maxima) {
  const D d;
  const size_t whole_tiles = logits.size() / kTile;
  auto nan = hn::IsNaN(hn::Zero(d));
  for (size_t tile = 0; tile < whole_tiles; ++tile) {
    for (size_t column = 0; column < kCellStride; column += kLanes) {
      const float* cells = logits.data() + tile * kTile + column;
      V max = hn::Set(d, -kInfinity);
      for (size_t row = 0; row < kCellRows; ++row) {
        const V x = hn::LoadU(d, cells + row * kCellStride);
        nan = hn::Or(nan, hn::IsNaN(x));
        max = hn::Max(max, x);
      }
      hn::StoreU(max, d, maxima + tile * kCellStride + column);
    }
  }
  bool numbers = hn::AllFalse(d, nan);
  if (whole_tiles * kTile == logits.size()) return numbers;
  float* last = maxima + whole_tiles * kCellStride;
  std::fill(last, last + kCellStride, -kInfinity);
  for (size_t i = whole_tiles * kTile; i < logits.size(); ++i) {
    numbers = numbers && logits[i] == logits[i];
    last[i % kCellStride] = std::max(last[i % kCellStride], logits[i]);
  }
  return numbers;
}

}  // namespace HWY_NAMESPACE
}  // namespace longhaul
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace longhaul {

HWY_EXPORT(MaxLogit);
HWY_EXPORT(SumExpOfRange);
HWY_EXPORT(CellMaxima);

float MaxLogit(std::span<const float> logits) {
  return HWY_DYNAMIC_DISPATCH(MaxLogit)(logits);
}

double SumExp(std::span<const float> logits, float max, float scale) {
  double sum = 0;
  for (size_t begin = 0; begin < logits.size(); begin += kLogitRange) {
    sum += HWY_DYNAMIC_DISPATCH(SumExpOfRange)(logits.data() + begin, std::min(kLogitRange, logits.size() - begin), max,
                                               scale);
  }
  return sum;
}

bool CellMaxima(std::span<const float> logits, float* maxima) {
  return HWY_DYNAMIC_DISPATCH(CellMaxima)(logits, maxima);
}

}  // namespace longhaul
#endif
