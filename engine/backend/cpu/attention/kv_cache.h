#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "engine/backend/backend.h"
#include "engine/backend/batch.h"
#include "engine/backend/types.h"

namespace longhaul::cpu {

// Tokens of a block: the keys of a block are one vector of 16 floats per dimension.
inline constexpr int64_t kBlockTokens = 16;

// Blocks of `n` tokens.
inline constexpr int64_t BlocksFor(int64_t n) {
  return n / kBlockTokens + (n % kBlockTokens != 0 ? 1 : 0);
}

// Elements of the cache beside float.
struct Bf16 {
  uint16_t bits;
};
struct F16 {
  uint16_t bits;
};

// The heads of a token and how they lie in the cache.
struct HeadShape {
  int64_t n_heads = 0;
  int64_t n_kv_heads = 0;
  int64_t head_dim = 0;
  CacheType type = CacheType::kF32;

  // The dimensions that a row of scratch has: a multiple of every vector.
  int64_t padded_dim() const { return (head_dim + 15) / 16 * 16; }
};

// Calls f with an element of the type, which says what the cache holds.
template <class F>
void WithElement(CacheType type, F f) {
  switch (type) {
    case CacheType::kBf16:
      return f(Bf16());
    case CacheType::kF16:
      return f(F16());
    default:
      return f(0.0f);
  }
}

// The paged cache of all layers. A block's page in one layer is contiguous: the keys of all kv heads, each
// [head_dim][kBlockTokens] so that one vector holds a dimension of 16 keys, then the values of all kv heads, each
// [kBlockTokens][head_dim].
class KvCache {
 public:
  // `geometry`: of PlanCache for the same shape and type. RESOURCE_EXHAUSTED when so much cannot be reserved.
  static absl::StatusOr<std::unique_ptr<KvCache>> Create(const CacheShape& shape, const CacheGeometry& geometry,
                                                         CacheType type);
  ~KvCache();
  KvCache(const KvCache&) = delete;
  KvCache& operator=(const KvCache&) = delete;

  const CacheShape& shape() const { return shape_; }
  const CacheGeometry& geometry() const { return geometry_; }
  CacheType type() const { return type_; }
  HeadShape head_shape() const { return {shape_.n_heads, shape_.n_kv_heads, shape_.head_dim, type_}; }

  // The page of `block` in `layer`, 64-byte aligned.
  std::byte* Page(int64_t layer, BlockId block) {
    return data_ + (static_cast<int64_t>(block) * shape_.n_layers + layer) * page_bytes_;
  }
  int64_t page_bytes() const { return page_bytes_; }
  // Bytes from the page of one block to that of the next.
  int64_t block_bytes() const { return page_bytes_ * shape_.n_layers; }

 private:
  KvCache(const CacheShape& shape, const CacheGeometry& geometry, CacheType type, std::byte* data, int64_t bytes);

  CacheShape shape_;
  CacheGeometry geometry_;
  CacheType type_;
  int64_t page_bytes_;
  std::byte* data_;  // reserved memory that becomes resident when it is first written
  int64_t bytes_;
};

// See Backend::PlanCache. A near ring keeps keys alone, so that a block holds those of two blocks of tokens.
absl::StatusOr<CacheGeometry> PlanCache(const CacheShape& shape, CacheType type, int64_t bytes);

}  // namespace longhaul::cpu
