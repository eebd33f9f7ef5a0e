#include "engine/backend/cpu/attention/rotate_and_store.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/backend/cpu/attention/rotate_and_store.cc"
#include "hwy/foreach_target.h"
// The line above compiles this file once per instruction set.
#include <algorithm>

#include "engine/backend/cpu/attention/cache_element-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace longhaul::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using D1 = hn::CappedTag<float, 1>;
constexpr int64_t kLanes = HWY_LANES(float);

// (x, y) of a pair turn by the angle.
template <class Tag>
HWY_INLINE void RotatePairs(Tag d, const float* cosines, const float* sines, int64_t pairs, int64_t i, float* head) {
  const auto x = hn::LoadU(d, head + i), y = hn::LoadU(d, head + pairs + i);
  const auto c = hn::LoadU(d, cosines + i), s = hn::LoadU(d, sines + i);
  hn::StoreU(hn::NegMulAdd(y, s, hn::Mul(x, c)), d, head + i);
  hn::StoreU(hn::MulAdd(x, s, hn::Mul(y, c)), d, head + pairs + i);
}

void Rotate(const Turn& turn, int64_t pairs, float* head) {
  if (turn.cosines == nullptr) return;
  int64_t i = 0;
  for (; i + kLanes <= pairs; i += kLanes) RotatePairs(D(), turn.cosines, turn.sines, pairs, i, head);
  for (; i < pairs; ++i) RotatePairs(D1(), turn.cosines, turn.sines, pairs, i, head);
}

template <class T>
void Store(const HeadShape& shape, const float* keys, const float* values, std::byte* page, int64_t slot) {
  T* const key_page = reinterpret_cast<T*>(page);
  T* const value_page = key_page + shape.n_kv_heads * shape.head_dim * kBlockTokens;
  T rounded[kMaxHeadDim];
  for (int64_t head = 0; head < shape.n_kv_heads; ++head) {
    const int64_t start = head * shape.head_dim * kBlockTokens;
    RoundRow(keys + head * shape.head_dim, shape.head_dim, rounded);
    for (int64_t i = 0; i < shape.head_dim; ++i) key_page[start + i * kBlockTokens + slot] = rounded[i];
    RoundRow(values + head * shape.head_dim, shape.head_dim, value_page + start + slot * shape.head_dim);
  }
}

void RotateAndStoreToken(const HeadShape& shape, const TokenTurns& turns, float* qkv, float* far_queries,
                         int64_t far_stride, std::byte* page, int64_t slot) {
  float* const keys = qkv + shape.n_heads * shape.head_dim;
  float* const values = keys + shape.n_kv_heads * shape.head_dim;
  const auto turn_queries = [&](const Turn& turn, float* queries) HWY_ATTR {
    for (int64_t head = 0; head < shape.n_heads; ++head) Rotate(turn, turns.pairs, queries + head * shape.head_dim);
    for (int64_t i = 0; i < shape.n_heads * shape.head_dim; ++i) queries[i] *= turns.query_scale;
  };
  for (int regime = 1; regime < turns.n_regimes; ++regime) {
    float* const queries = far_queries + (regime - 1) * far_stride;
    std::copy_n(qkv, shape.n_heads * shape.head_dim, queries);
    turn_queries(turns.queries[regime], queries);
  }
  turn_queries(turns.queries[0], qkv);
  for (float* key = keys; key < values; key += shape.head_dim) Rotate(turns.stored_key, turns.pairs, key);
  WithElement(shape.type, [&](auto element) HWY_ATTR { Store<decltype(element)>(shape, keys, values, page, slot); });
}

template <class T>
void MakeNear(const HeadShape& shape, int64_t pairs, const float* angles, const std::byte* page, std::byte* near_keys) {
  const D d;
  const float* const sine_rows = angles + pairs * kBlockTokens;
  HWY_ALIGN float turned[2 * kBlockTokens];
  for (int64_t head = 0; head < shape.n_kv_heads; ++head) {
    const int64_t start = head * shape.head_dim * kBlockTokens;
    const T* const stored = reinterpret_cast<const T*>(page) + start;
    T* const out = reinterpret_cast<T*>(near_keys) + start;
    for (int64_t i = 0; i < pairs; ++i) {
      const T *const x_row = stored + i * kBlockTokens, *const y_row = stored + (pairs + i) * kBlockTokens;
      for (int64_t lane = 0; lane < kBlockTokens; lane += kLanes) {
        const auto x = LoadF32(d, x_row + lane), y = LoadF32(d, y_row + lane);
        const auto c = hn::Load(d, angles + i * kBlockTokens + lane);
        const auto s = hn::Load(d, sine_rows + i * kBlockTokens + lane);
        hn::Store(hn::NegMulAdd(y, s, hn::Mul(x, c)), d, turned + lane);
        hn::Store(hn::MulAdd(x, s, hn::Mul(y, c)), d, turned + kBlockTokens + lane);
      }
      RoundRow(turned, kBlockTokens, out + i * kBlockTokens);
      RoundRow(turned + kBlockTokens, kBlockTokens, out + (pairs + i) * kBlockTokens);
    }
    std::copy(stored + 2 * pairs * kBlockTokens, stored + shape.head_dim * kBlockTokens,
              out + 2 * pairs * kBlockTokens);
  }
}

void MakeNearKeysOfBlock(const HeadShape& shape, int64_t pairs, const float* angles, const std::byte* page,
                         std::byte* near_keys) {
  WithElement(shape.type,
              [&](auto element) HWY_ATTR { MakeNear<decltype(element)>(shape, pairs, angles, page, near_keys); });
}

}  // namespace HWY_NAMESPACE
}  // namespace longhaul::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace longhaul::cpu {

HWY_EXPORT(RotateAndStoreToken);
HWY_EXPORT(MakeNearKeysOfBlock);

void RotateAndStore(const HeadShape& shape, const TokenTurns& turns, float* qkv, float* far_queries, int64_t far_stride,
                    std::byte* page, int64_t slot) {
  HWY_DYNAMIC_DISPATCH(RotateAndStoreToken)(shape, turns, qkv, far_queries, far_stride, page, slot);
}

void MakeNearKeys(const HeadShape& shape, int64_t pairs, const float* angles, const std::byte* page,
                  std::byte* near_keys) {
  HWY_DYNAMIC_DISPATCH(MakeNearKeysOfBlock)(shape, pairs, angles, page, near_keys);
}

}  // namespace longhaul::cpu
#endif
