#include "engine/backend/cpu/rotate_and_store.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/backend/cpu/rotate_and_store.cc"
#include "hwy/foreach_target.h"
// The line above compiles this file once per instruction set.
#include <algorithm>

#include "engine/backend/cpu/cache_element-inl.h"
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

// [head_dim] of a key to its slot of a head's [head_dim][kBlockTokens].
template <class T>
void Scatter(const T* key, int64_t head_dim, T* out) {
  for (int64_t i = 0; i < head_dim; ++i) out[i * kBlockTokens] = key[i];
}

// `stored` as it stands in the cache.
template <class T>
void StoreNearKey(const T* stored, int64_t head_dim, const Turn& turn, int64_t pairs, T* out) {
  const D d;
  const D1 d1;
  HWY_ALIGN float key[kMostHeadDim];
  T rounded[kMostHeadDim];
  int64_t i = 0;
  for (; i + kLanes <= head_dim; i += kLanes) hn::StoreU(LoadF32(d, stored + i), d, key + i);
  for (; i < head_dim; ++i) hn::StoreU(LoadF32(d1, stored + i), d1, key + i);
  Rotate(turn, pairs, key);
  RoundRow(key, head_dim, rounded);
  Scatter(rounded, head_dim, out);
}

template <class T>
void Store(const HeadShape& shape, const TokenTurns& turns, const TokenPlace& place, const float* keys,
           const float* values) {
  T* const key_page = reinterpret_cast<T*>(place.page);
  T* const near_page = reinterpret_cast<T*>(place.near_keys);
  T* const value_page = key_page + shape.n_kv_heads * shape.head_dim * kBlockTokens;
  T rounded[kMostHeadDim];
  for (int64_t head = 0; head < shape.n_kv_heads; ++head) {
    const int64_t start = head * shape.head_dim * kBlockTokens;
    RoundRow(keys + head * shape.head_dim, shape.head_dim, rounded);
    Scatter(rounded, shape.head_dim, key_page + start + place.slot);
    if (near_page != nullptr) {
      StoreNearKey(rounded, shape.head_dim, turns.near_key, turns.pairs, near_page + start + place.slot);
    }
    RoundRow(values + head * shape.head_dim, shape.head_dim, value_page + start + place.slot * shape.head_dim);
  }
}

void RotateAndStoreToken(const HeadShape& shape, const TokenTurns& turns, const TokenPlace& place, float* qkv,
                         float* far_queries) {
  float* const keys = qkv + shape.n_heads * shape.head_dim;
  float* const values = keys + shape.n_kv_heads * shape.head_dim;
  const auto make_queries = [&](const Turn& turn, float* queries) HWY_ATTR {
    for (int64_t head = 0; head < shape.n_heads; ++head) Rotate(turn, turns.pairs, queries + head * shape.head_dim);
    for (int64_t i = 0; i < shape.n_heads * shape.head_dim; ++i) queries[i] *= turns.query_scale;
  };
  if (place.near_keys != nullptr) {
    std::copy_n(qkv, shape.n_heads * shape.head_dim, far_queries);
    make_queries(turns.far_query, far_queries);
  }
  make_queries(turns.query, qkv);
  for (float* key = keys; key < values; key += shape.head_dim) Rotate(turns.stored_key, turns.pairs, key);
  WithElement(shape.type, [&](auto element) HWY_ATTR { Store<decltype(element)>(shape, turns, place, keys, values); });
}

template <class T>
void Restore(const HeadShape& shape, int64_t pairs, const Turn& near_key, const TokenPlace& place) {
  const T* const key_page = reinterpret_cast<const T*>(place.page);
  T* const near_page = reinterpret_cast<T*>(place.near_keys);
  T stored[kMostHeadDim];
  for (int64_t head = 0; head < shape.n_kv_heads; ++head) {
    const int64_t start = head * shape.head_dim * kBlockTokens + place.slot;
    for (int64_t i = 0; i < shape.head_dim; ++i) stored[i] = key_page[start + i * kBlockTokens];
    StoreNearKey(stored, shape.head_dim, near_key, pairs, near_page + start);
  }
}

void RestoreNearKeysOfToken(const HeadShape& shape, int64_t pairs, const Turn& near_key, const TokenPlace& place) {
  WithElement(shape.type, [&](auto element) HWY_ATTR { Restore<decltype(element)>(shape, pairs, near_key, place); });
}

}  // namespace HWY_NAMESPACE
}  // namespace longhaul::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace longhaul::cpu {

HWY_EXPORT(RotateAndStoreToken);
HWY_EXPORT(RestoreNearKeysOfToken);

void RotateAndStore(const HeadShape& shape, const TokenTurns& turns, const TokenPlace& place, float* qkv,
                    float* far_queries) {
  HWY_DYNAMIC_DISPATCH(RotateAndStoreToken)(shape, turns, place, qkv, far_queries);
}

void RestoreNearKeys(const HeadShape& shape, int64_t pairs, const Turn& near_key, const TokenPlace& place) {
  HWY_DYNAMIC_DISPATCH(RestoreNearKeysOfToken)(shape, pairs, near_key, place);
}

}  // namespace longhaul::cpu
#endif
