#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/backend/batch.h"
#include "engine/backend/cpu/aligned_floats.h"
#include "engine/backend/types.h"

namespace longhaul::cpu {

// The arithmetic of attention. Its order, the same in prefill and in decode (DESIGN.md section 10):
//   score      one chain of fused multiply-adds over the dimensions of the head, from 0 upward
//   range      512 keys, counted from position 0: its maximum; the sum of exp(score - maximum) in 16 partial sums (key
//              modulo 16), then a fixed tree; the weighted values in one chain per dimension over the keys, ascending
//   row        its ranges merged from 0 upward by one function; at last divided by the sum
// A key after the query's position adds exactly 0 to the sum, and its value is not touched: it may be left over from
// another row.
inline constexpr int64_t kRangeKeys = 512;

// Query rows of a tile: tokens times the query heads of one kv head. They share what is read of the cache.
inline constexpr int64_t kTileRows = 48;

// One thread's working memory.
struct AttentionScratch {
  explicit AttentionScratch(int64_t head_dim);

  AlignedFloats queries;  // [kTileRows / 8, head_dim, 8]
  AlignedFloats scores;   // [kTileRows, kRangeKeys]
  AlignedFloats keys;     // [kRangeKeys / kBlockTokens, head_dim, kBlockTokens], widened to f32
  AlignedFloats partial;  // [kTileRows, head_dim] and [kTileRows, 2]: the range at hand
};

struct AttentionTile {
  int64_t head_dim = 0;
  CacheType type = CacheType::kF32;
  const std::byte* pages = nullptr;            // the page of block 0 in the layer
  int64_t block_stride = 0;                    // bytes from a block's page to the next one's
  int64_t keys_offset = 0, values_offset = 0;  // bytes in a page, of the kv head
  const BlockId* block_table = nullptr;

  int64_t n_tokens = 0;
  int64_t n_heads = 0;             // query heads of the kv head; n_tokens * n_heads <= kTileRows
  int64_t first_position = 0;      // of the first token
  const float* queries = nullptr;  // [n_tokens, n_heads, head_dim], rotated and scaled, tokens `query_stride` apart
  int64_t query_stride = 0;
  float* out = nullptr;  // [n_tokens, n_heads, head_dim], tokens `out_stride` apart
  int64_t out_stride = 0;

  int64_t n_rows() const { return n_tokens * n_heads; }
  int64_t n_ranges() const { return (first_position + n_tokens - 1) / kRangeKeys + 1; }
};

// Floats that one range's results of a tile take: weighted values [n_rows, head_dim], then (maximum, sum) [n_rows, 2].
inline int64_t PartialFloats(const AttentionTile& tile) {
  return tile.n_rows() * (tile.head_dim + 2);
}

// The whole tile.
void AttendTile(const AttentionTile& tile, AttentionScratch& scratch);

// The same in two steps: each range into `partial`, on any thread; then, when all are there, the merge of `partials`,
// range after range.
void AttendRange(const AttentionTile& tile, int64_t range, float* partial, AttentionScratch& scratch);
void MergeRanges(const AttentionTile& tile, const float* partials);

// Rounds a token's key or value of one head and writes it: n elements `stride` elements apart.
void StoreRow(CacheType type, const float* row, int64_t n, int64_t stride, std::byte* out);

}  // namespace longhaul::cpu
