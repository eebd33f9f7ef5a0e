#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/backend/backend.h"
#include "engine/backend/batch.h"
#include "engine/backend/cpu/worker_pool.h"
#include "engine/position/rotary_table.h"

namespace longhaul::cpu {

// The paged cache of all layers. A block's page in one layer is contiguous: the keys of all kv heads, each
// [head_dim][kBlockTokens] so that one vector holds a dimension of 16 keys, then the values of all kv heads, each
// [kBlockTokens][head_dim].
class KvCache {
 public:
  static absl::StatusOr<std::unique_ptr<KvCache>> Create(const CacheShape& shape, CacheType type);
  ~KvCache();
  KvCache(const KvCache&) = delete;
  KvCache& operator=(const KvCache&) = delete;

  const CacheShape& shape() const { return shape_; }
  CacheType type() const { return type_; }

  // The page of `block` in `layer`, 64-byte aligned.
  std::byte* Page(int64_t layer, BlockId block) {
    return data_ + (static_cast<int64_t>(block) * shape_.n_layers + layer) * page_bytes_;
  }
  int64_t page_bytes() const { return page_bytes_; }

 private:
  KvCache(const CacheShape& shape, CacheType type, std::byte* data, int64_t bytes);

  CacheShape shape_;
  CacheType type_;
  int64_t page_bytes_;
  std::byte* data_;  // reserved memory that becomes resident when it is first written
  int64_t bytes_;
};

// Bytes that one block takes in all layers.
int64_t CacheBlockBytes(const CacheShape& shape, CacheType type);

// The attention of one step: rotates, writes the new keys and values, then reads keys and values from the cache only.
class Attention {
 public:
  // Neither is owned; both outlive it.
  Attention(KvCache& cache, WorkerPool& pool);
  ~Attention();

  // Takes note of the rows and works out the cosines and sines of every new token, once for all layers.
  // REQUIRES: the batch outlives the step.
  void BeginStep(const Batch& batch);

  // As Backend::Attention: qkv [n_tokens, (n_heads + 2 n_kv_heads) * head_dim] is overwritten; out [n_tokens,
  // n_heads * head_dim].
  void Run(int64_t layer, float* qkv, float* out);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace longhaul::cpu
