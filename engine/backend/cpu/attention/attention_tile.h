#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>

#include "engine/backend/batch.h"
#include "engine/backend/cpu/aligned_floats.h"
#include "engine/backend/cpu/attention/kv_cache.h"
#include "engine/position/plan_angles.h"

namespace longhaul::cpu {

// The arithmetic of attention. Its order, the same in prefill and in decode:
//   score      one chain of fused multiply-adds over the dimensions of the head, from 0 upward
//   range      512 keys, counted from position 0: its maximum; the sum of exp(score - maximum) in 16 partial sums (key
//              modulo 16), then a fixed tree; the weighted values in one chain per dimension over the keys, ascending
//   row        its ranges merged from 0 upward by one function; at last divided by the sum
// A key after the query's position adds exactly 0 to the sum, and its value is not touched: it may be left over from
// another row. The score of a key is that of the query of the regime that it is in, with the near key in regime 0 where
// the plan has near keys, else with the stored one: the keys of all regimes lie in one ascending pass.
inline constexpr int64_t kRangeKeys = 512;

// Query rows of a tile: tokens times the query heads of one kv head. They share what is read of the cache.
inline constexpr int64_t kTileRows = 48;

// Floats from one row of scores to the next. Not a power of two: rows must not fall on the same lines of the cache.
inline constexpr int64_t kScoreStride = kRangeKeys + 16;

// Blocks that are worked on together.
inline constexpr int64_t kMaxChunkBlocks = 4;

// One thread's working memory.
struct AttentionScratch {
  explicit AttentionScratch(const HeadShape& shape);

  int64_t chunk_blocks;       // blocks that are worked on while they stay in the nearest cache
  AlignedFloats scores;       // [kTileRows, kScoreStride]
  AlignedFloats near_scores;  // the same, of blocks where some rows see a nearer regime and others a farther one
  AlignedFloats range_out;    // [kTileRows, padded_dim]
  AlignedFloats out;          // [kTileRows, padded_dim]
  AlignedFloats widened;      // [chunk_blocks, kBlockTokens, padded_dim]
  float range_max[kTileRows], range_sum[kTileRows], max[kTileRows], sum[kTileRows];
  int64_t n_keys[kTileRows];  // of the range at hand, that the row sees
};

// The results of single ranges, to be merged later: [n_ranges, rows of the tile].
struct Partials {
  float* out = nullptr;    // [.., padded_dim]
  float* stats = nullptr;  // [.., 2]: maximum, sum
};

// Where the near keys of a row lie in one layer: those of block b (kBlockTokens tokens) in half b modulo 2 * ring
// blocks of the row's ring, or, from `first_scratch_block` on, in scratch. Either has the layout of the keys of a page.
struct NearKeys {
  std::byte* pages = nullptr;  // the page of block 0
  int64_t block_stride = 0;    // bytes from a block's page to the next one's
  int64_t half_bytes = 0;      // bytes of the keys of a page
  std::span<const BlockId> ring;
  std::byte* scratch = nullptr;
  int64_t first_scratch_block = std::numeric_limits<int64_t>::max();

  int64_t ring_halves() const { return 2 * static_cast<int64_t>(ring.size()); }
  std::byte* InHalf(int64_t half) const {
    return pages + ring[static_cast<size_t>(half / 2)] * block_stride + half % 2 * half_bytes;
  }
  std::byte* InRing(int64_t block) const { return InHalf(block % ring_halves()); }
  std::byte* InScratch(int64_t block) const { return scratch + (block - first_scratch_block) * half_bytes; }
  std::byte* Block(int64_t block) const { return block < first_scratch_block ? InRing(block) : InScratch(block); }
};

// A tile's queries for the keys of one regime.
struct RegimeQueries {
  const float* queries = nullptr;  // [n_tokens, n_heads, head_dim], tokens `stride` apart
  int64_t stride = 0;
  const int64_t* first_keys = nullptr;  // PlanAngles::FirstKey of each token, kMaxRegimes apart
};

struct AttentionTile {
  HeadShape shape;
  std::byte* pages = nullptr;  // the page of block 0
  int64_t block_stride = 0;    // bytes from a block's page to the next one's
  const BlockId* block_table = nullptr;
  int64_t kv_head = 0;

  int64_t n_tokens = 0;
  int64_t n_heads = 0;         // query heads of kv_head that take part; n_tokens * n_heads <= kTileRows
  int64_t first_position = 0;  // of the first token
  int n_regimes = 1;
  RegimeQueries regimes[kMaxRegimes];  // nearest first; first_keys only where there are several
  bool has_near_keys = false;          // else the keys of regime 0 are the stored ones, too
  NearKeys near_keys;
  float* out = nullptr;  // [n_tokens, n_heads, head_dim], tokens `out_stride` apart
  int64_t out_stride = 0;

  int64_t n_rows() const { return n_tokens * n_heads; }
  int64_t n_ranges() const { return (first_position + n_tokens - 1) / kRangeKeys + 1; }
};

// The whole tile.
void AttendTile(const AttentionTile& tile, AttentionScratch& scratch);

// The same in two steps: some ranges into `partials`, any thread; then, when all are there, the merge.
void AttendRanges(const AttentionTile& tile, int64_t first_range, int64_t n_ranges, const Partials& partials,
                  AttentionScratch& scratch);
void MergeRanges(const AttentionTile& tile, const Partials& partials, AttentionScratch& scratch);

}  // namespace longhaul::cpu
