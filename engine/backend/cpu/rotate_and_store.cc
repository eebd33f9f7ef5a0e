#include "engine/backend/cpu/rotate_and_store.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/backend/cpu/rotate_and_store.cc"
#include "hwy/foreach_target.h"
// The line above compiles this file once per instruction set.
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

void Rotate(const float* cosines, const float* sines, int64_t pairs, float* head) {
  int64_t i = 0;
  for (; i + kLanes <= pairs; i += kLanes) RotatePairs(D(), cosines, sines, pairs, i, head);
  for (; i < pairs; ++i) RotatePairs(D1(), cosines, sines, pairs, i, head);
}

template <class T>
void Store(const HeadShape& shape, const float* keys, const float* values, std::byte* page, int64_t slot) {
  T* const key_page = reinterpret_cast<T*>(page);
  T* const value_page = key_page + shape.n_kv_heads * shape.head_dim * kBlockTokens;
  T rounded[kMostHeadDim];
  for (int64_t head = 0; head < shape.n_kv_heads; ++head) {
    const int64_t start = head * shape.head_dim * kBlockTokens;
    RoundRow(keys + head * shape.head_dim, shape.head_dim, rounded);
    for (int64_t i = 0; i < shape.head_dim; ++i) key_page[start + i * kBlockTokens + slot] = rounded[i];
    RoundRow(values + head * shape.head_dim, shape.head_dim, value_page + start + slot * shape.head_dim);
  }
}

void RotateAndStoreToken(const HeadShape& shape, const float* cosines, const float* sines, int64_t pairs,
                         float query_scale, float* qkv, std::byte* page, int64_t slot) {
  float* const keys = qkv + shape.n_heads * shape.head_dim;
  float* const values = keys + shape.n_kv_heads * shape.head_dim;
  for (float* head = qkv; head < values; head += shape.head_dim) Rotate(cosines, sines, pairs, head);
  for (float* query = qkv; query < keys; ++query) *query *= query_scale;
  WithElement(shape.type, [&](auto element) HWY_ATTR { Store<decltype(element)>(shape, keys, values, page, slot); });
}

}  // namespace HWY_NAMESPACE
}  // namespace longhaul::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace longhaul::cpu {

HWY_EXPORT(RotateAndStoreToken);

void RotateAndStore(const HeadShape& shape, const float* cosines, const float* sines, int64_t pairs, float query_scale,
                    float* qkv, std::byte* page, int64_t slot) {
  HWY_DYNAMIC_DISPATCH(RotateAndStoreToken)(shape, cosines, sines, pairs, query_scale, qkv, page, slot);
}

}  // namespace longhaul::cpu
#endif
