// The arithmetic of attention on rows of scratch, once per instruction set. attention_tile.h says in which order.

#if defined(LONGHAUL_BACKEND_CPU_ATTENTION_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LONGHAUL_BACKEND_CPU_ATTENTION_ROWS_INL_H_
#undef LONGHAUL_BACKEND_CPU_ATTENTION_ROWS_INL_H_
#else
#define LONGHAUL_BACKEND_CPU_ATTENTION_ROWS_INL_H_
#endif

#include <algorithm>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "engine/backend/cpu/attention/attention_tile.h"
#include "engine/backend/cpu/attention/cache_element-inl.h"
#include "engine/base/exp-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace longhaul::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using D1 = hn::CappedTag<float, 1>;
using V = hn::Vec<D>;
constexpr int64_t kLanes = HWY_LANES(float);
constexpr int64_t kBlockVectors = kBlockTokens / kLanes;

// Rows that are multiplied at once, and vectors of dimensions that go with them: as many sums as there are registers.
constexpr int64_t kGroupRows = 6;
constexpr int64_t kOutVectors = kLanes == 16 ? 4 : 2;

// scores[r] of two vectors of keys, for R rows of queries.
template <int R, class T>
HWY_INLINE void ScoreKeys(const float* const* queries, const T* HWY_RESTRICT keys0, const T* HWY_RESTRICT keys1,
                          int64_t head_dim, float* scores0, float* scores1) {
  const D d;
  const float* query[R];
  V sums0[R], sums1[R];
  for (int r = 0; r < R; ++r) query[r] = queries[r];
  for (int r = 0; r < R; ++r) sums0[r] = sums1[r] = hn::Zero(d);
  for (int64_t i = 0; i < head_dim; ++i) {
    const V k0 = LoadF32(d, keys0 + i * kBlockTokens), k1 = LoadF32(d, keys1 + i * kBlockTokens);
    for (int r = 0; r < R; ++r) {
      const V q = hn::Set(d, query[r][i]);
      sums0[r] = hn::MulAdd(q, k0, sums0[r]);
      sums1[r] = hn::MulAdd(q, k1, sums1[r]);
    }
  }
  for (int r = 0; r < R; ++r) {
    hn::Store(sums0[r], d, scores0 + r * kScoreStride);
    hn::Store(sums1[r], d, scores1 + r * kScoreStride);
  }
}

// out[r] += sum of weights[r][key] * values[key] over keys begin..end-1, for N vectors of dimensions.
template <int R, int N, class T>
HWY_INLINE void AddValues(const float* HWY_RESTRICT weights, const T* const* values, int64_t begin, int64_t end,
                          int64_t padded_dim, int64_t dim, float* HWY_RESTRICT out) {
  const D d;
  V sums[R][N];
  for (int r = 0; r < R; ++r) {
    for (int n = 0; n < N; ++n) sums[r][n] = hn::Load(d, out + r * padded_dim + dim + n * kLanes);
  }
  for (int64_t key = begin; key < end; ++key) {
    const T* const value = values[key / kBlockTokens] + key % kBlockTokens * padded_dim + dim;
    V v[N];
    for (int n = 0; n < N; ++n) v[n] = LoadF32(d, value + n * kLanes);
    for (int r = 0; r < R; ++r) {
      const V w = hn::Set(d, weights[r * kScoreStride + key]);
      for (int n = 0; n < N; ++n) sums[r][n] = hn::MulAdd(w, v[n], sums[r][n]);
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int n = 0; n < N; ++n) hn::Store(sums[r][n], d, out + r * padded_dim + dim + n * kLanes);
  }
}

template <int R, class T>
HWY_NOINLINE void AddValuesOfRows(const float* weights, const T* const* values, int64_t begin, int64_t end,
                                  int64_t padded_dim, float* out) {
  int64_t dim = 0;
  for (; dim + kOutVectors * kLanes <= padded_dim; dim += kOutVectors * kLanes) {
    AddValues<R, kOutVectors>(weights, values, begin, end, padded_dim, dim, out);
  }
  for (; dim < padded_dim; dim += kLanes) AddValues<R, 1>(weights, values, begin, end, padded_dim, dim, out);
}

template <int R, class T>
HWY_NOINLINE void ScoreKeysOfRows(const float* const* queries, const T* const* keys, int64_t n_keys, int64_t head_dim,
                                  float* scores) {
  const int64_t last = (n_keys - 1) / kLanes;
  for (int64_t v = 0; v <= last; v += 2) {
    const int64_t w = std::min(v + 1, last);
    ScoreKeys<R>(queries, keys[v / kBlockVectors] + v % kBlockVectors * kLanes,
                 keys[w / kBlockVectors] + w % kBlockVectors * kLanes, head_dim, scores + v * kLanes,
                 scores + w * kLanes);
  }
}

// f with the number of rows as a constant.
template <class F>
HWY_INLINE void WithRows(int64_t rows, F f) {
  switch (rows) {
    case 1:
      return f(std::integral_constant<int, 1>());
    case 2:
      return f(std::integral_constant<int, 2>());
    case 3:
      return f(std::integral_constant<int, 3>());
    case 4:
      return f(std::integral_constant<int, 4>());
    case 5:
      return f(std::integral_constant<int, 5>());
    default:
      return f(std::integral_constant<int, 6>());
  }
}
static_assert(kGroupRows == 6);

// scores become exp(score - max); those from n_keys on to the end of the block become 0.
void Softmax(float* scores, int64_t n_keys, float* max_out, float* sum_out) {
  const D d;
  const V lowest = hn::Set(d, -std::numeric_limits<float>::infinity());
  const int64_t end = (n_keys + kBlockTokens - 1) / kBlockTokens * kBlockTokens;
  for (int64_t i = n_keys / kBlockTokens * kBlockTokens; i < end; i += kLanes) {
    const auto seen = hn::FirstN(d, static_cast<size_t>(std::clamp<int64_t>(n_keys - i, 0, kLanes)));
    hn::Store(hn::IfThenElse(seen, hn::Load(d, scores + i), lowest), d, scores + i);
  }
  V maxima[2] = {lowest, lowest};
  for (int64_t i = 0; i < end; i += kLanes) {
    V& max = maxima[i / kLanes % 2];
    max = hn::Max(max, hn::Load(d, scores + i));
  }
  const float max = hn::GetLane(hn::MaxOfLanes(d, hn::Max(maxima[0], maxima[1])));

  V sums[kBlockVectors];
  for (V& sum : sums) sum = hn::Zero(d);
  const V max_v = hn::Set(d, max);
  for (int64_t i = 0; i < end; i += kBlockTokens) {
    for (int64_t v = 0; v < kBlockVectors; ++v) {
      float* const at = scores + i + v * kLanes;
      const V weight = longhaul::HWY_NAMESPACE::Exp(d, hn::Sub(hn::Load(d, at), max_v));
      hn::Store(weight, d, at);
      sums[v] = hn::Add(sums[v], weight);
    }
  }
  HWY_ALIGN float partial[kBlockTokens];
  for (int64_t v = 0; v < kBlockVectors; ++v) hn::Store(sums[v], d, partial + v * kLanes);
  for (int64_t half = kBlockTokens / 2; half > 0; half /= 2) {
    for (int64_t j = 0; j < half; ++j) partial[j] += partial[j + half];
  }
  *max_out = max;
  *sum_out = partial[0];
}

float ExpOf(float x) {
  const D1 d1;
  return hn::GetLane(longhaul::HWY_NAMESPACE::Exp(d1, hn::Set(d1, x)));
}

// A row's next range joins what came before it.
void Merge(float range_max, float range_sum, const float* range_out, int64_t padded_dim, float& max, float& sum,
           float* out) {
  const D d;
  const float new_max = std::max(max, range_max);
  const float scale = ExpOf(max - new_max), range_scale = ExpOf(range_max - new_max);
  max = new_max;
  sum = sum * scale + range_sum * range_scale;
  const V scale_v = hn::Set(d, scale), range_scale_v = hn::Set(d, range_scale);
  for (int64_t i = 0; i < padded_dim; i += kLanes) {
    const V added = hn::Mul(hn::Load(d, range_out + i), range_scale_v);
    hn::Store(hn::MulAdd(hn::Load(d, out + i), scale_v, added), d, out + i);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace longhaul::cpu
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
