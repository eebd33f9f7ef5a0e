#include "engine/backend/cpu/attention/kv_cache.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>

#include "absl/strings/str_cat.h"

namespace longhaul::cpu {
namespace {

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
constexpr int64_t kMaxBlocks = 1 << 30;  // ids are 32 bits wide

// kMax where it does not fit. REQUIRES: both are at least 1.
int64_t Product(int64_t a, int64_t b) {
  int64_t product;
  return __builtin_mul_overflow(a, b, &product) ? kMax : product;
}

int64_t PageBytes(const CacheShape& shape, CacheType type) {
  const int64_t element_bytes = type == CacheType::kF32 ? 4 : 2;
  return Product(Product(shape.n_kv_heads, shape.head_dim), 2 * kBlockTokens * element_bytes);
}

}  // namespace

absl::StatusOr<CacheGeometry> PlanCache(const CacheShape& shape, CacheType type, int64_t bytes) {
  if (type == CacheType::kAuto) return absl::InvalidArgumentError("the type of the KV cache is not resolved");
  if (shape.n_layers < 1 || shape.n_kv_heads < 1 || shape.n_heads < shape.n_kv_heads ||
      shape.n_heads % shape.n_kv_heads != 0 || shape.n_heads > std::numeric_limits<int32_t>::max()) {
    return absl::InvalidArgumentError(absl::StrCat("a KV cache of ", shape.n_layers, " layers, ", shape.n_heads,
                                                   " query heads and ", shape.n_kv_heads,
                                                   " kv heads: the query heads must be a multiple of the kv heads"));
  }
  if (shape.head_dim < 2 || shape.head_dim > kMaxHeadDim || shape.head_dim % 2 != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("head_dim ", shape.head_dim, ": it must be even and at most ", kMaxHeadDim));
  }
  CacheGeometry geometry;
  geometry.block_tokens = kBlockTokens;
  geometry.ring_tokens = 2 * kBlockTokens;
  geometry.block_bytes = Product(PageBytes(shape, type), shape.n_layers);
  geometry.n_blocks = std::min(bytes / geometry.block_bytes, kMaxBlocks);
  if (geometry.n_blocks >= 1) return geometry;
  return absl::ResourceExhaustedError(absl::StrCat(
      "--kv-cache-memory: a KV cache of ", bytes, " bytes holds no block: one takes ", geometry.block_bytes, " bytes"));
}

absl::StatusOr<std::unique_ptr<KvCache>> KvCache::Create(const CacheShape& shape, const CacheGeometry& geometry,
                                                         CacheType type) {
  const int64_t bytes = Product(geometry.block_bytes, geometry.n_blocks);
  void* data = MAP_FAILED;
  int error = ENOMEM;
  if (bytes < kMax) {
    data = mmap(nullptr, static_cast<size_t>(bytes), PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    error = errno;
  }
  if (data == MAP_FAILED) {
    return absl::ResourceExhaustedError(absl::StrCat("cannot reserve ", bytes, " bytes for a KV cache of ",
                                                     geometry.n_blocks, " blocks: ", std::strerror(error)));
  }
  // Blocks lie scattered: fewer misses of the address cache. A wish, not a need.
  madvise(data, static_cast<size_t>(bytes), MADV_HUGEPAGE);
  return std::unique_ptr<KvCache>(new KvCache(shape, geometry, type, static_cast<std::byte*>(data), bytes));
}

KvCache::KvCache(const CacheShape& shape, const CacheGeometry& geometry, CacheType type, std::byte* data, int64_t bytes)
    : shape_(shape),
      geometry_(geometry),
      type_(type),
      page_bytes_(PageBytes(shape, type)),
      data_(data),
      bytes_(bytes) {}

KvCache::~KvCache() {
  munmap(data_, static_cast<size_t>(bytes_));
}

}  // namespace longhaul::cpu
