#include "engine/backend/cpu/attention/attention_tile.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/backend/cpu/attention/attention_tile.cc"
#include "hwy/foreach_target.h"
// The line above compiles this file once per instruction set.
#include <algorithm>
#include <type_traits>

#include "engine/backend/cpu/attention/attention_rows-inl.h"
#include "engine/backend/cpu/attention/cache_element-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace longhaul::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <class T>
class TileWorker {
 public:
  TileWorker(const AttentionTile& tile, AttentionScratch& scratch)
      : tile_(tile),
        scratch_(scratch),
        rows_(tile.n_rows()),
        head_dim_(tile.shape.head_dim),
        padded_dim_(tile.shape.padded_dim()),
        // Several groups of rows read the same keys: they are made f32 once.
        widen_keys_(!std::is_same_v<T, float> && rows_ > kGroupRows),
        widen_values_(widen_keys_ || head_dim_ != padded_dim_) {
    for (int regime = 0; regime < tile.n_regimes; ++regime) FindQueries(tile.regimes[regime], queries_[regime]);
  }

  // Fills n_keys, range_max, range_sum and range_out of the rows that see keys of the range.
  void Range(int64_t range) {
    const int64_t first_key = range * kRangeKeys;
    for (int64_t r = 0; r < rows_; ++r) {
      const int64_t position = tile_.first_position + r / tile_.n_heads;
      scratch_.n_keys[r] = std::clamp<int64_t>(position + 1 - first_key, 0, kRangeKeys);
    }
    const int64_t n_keys = scratch_.n_keys[rows_ - 1];
    const int64_t chunk_keys = scratch_.chunk_blocks * kBlockTokens;

    for (int64_t begin = 0; begin < n_keys; begin += chunk_keys) {
      ScoreChunk(first_key, begin, std::min(n_keys, begin + chunk_keys));
    }
    for (int64_t r = 0; r < rows_; ++r) {
      if (scratch_.n_keys[r] == 0) continue;
      Softmax(&scratch_.scores[r * kScoreStride], scratch_.n_keys[r], &scratch_.range_max[r], &scratch_.range_sum[r]);
    }
    std::fill_n(scratch_.range_out.get(), rows_ * padded_dim_, 0.0f);
    for (int64_t begin = 0; begin < n_keys; begin += chunk_keys) {
      const int64_t end = std::min(n_keys, begin + chunk_keys);
      const T* values[kMaxChunkBlocks];
      FindBlocks(first_key + begin, end - begin, tile_.shape.n_kv_heads, values);
      if (widen_values_) {
        const float* wide[kMaxChunkBlocks];
        WidenValues(values, end - begin, wide);
        Values(wide, begin, end);
      } else {
        Values(values, begin, end);
      }
    }
  }

 private:
  void FindQueries(const RegimeQueries& regime, const float** rows) const {
    for (int64_t r = 0; r < rows_; ++r) {
      rows[r] = regime.queries + r / tile_.n_heads * regime.stride + r % tile_.n_heads * head_dim_;
    }
  }

  int64_t FirstKey(int regime, int64_t token) const { return tile_.regimes[regime].first_keys[token * kMaxRegimes]; }

  // Of the blocks from position `first_key` on. heads_before: 0 for keys, n_kv_heads for values.
  void FindBlocks(int64_t first_key, int64_t n_keys, int64_t heads_before, const T** found) const {
    const BlockId* const blocks = tile_.block_table + first_key / kBlockTokens;
    const int64_t offset = (heads_before + tile_.kv_head) * head_dim_ * kBlockTokens;
    for (int64_t b = 0; b * kBlockTokens < n_keys; ++b) {
      found[b] = reinterpret_cast<const T*>(tile_.pages + blocks[b] * tile_.block_stride) + offset;
    }
  }

  void FindNearBlocks(int64_t first_key, int64_t n_keys, const T** found) const {
    const NearKeys& near = tile_.near_keys;
    const int64_t offset = tile_.kv_head * head_dim_ * kBlockTokens;
    const int64_t first = first_key / kBlockTokens;
    int64_t half = first % near.ring_halves();
    for (int64_t b = 0; b * kBlockTokens < n_keys; ++b) {
      const std::byte* const keys =
          first + b < near.first_scratch_block ? near.InHalf(half) : near.InScratch(first + b);
      found[b] = reinterpret_cast<const T*>(keys) + offset;
      if (++half == near.ring_halves()) half = 0;
    }
  }

  // The scores of keys begin..end-1 of the range that begins at position first_key; begin is a block's.
  void ScoreChunk(int64_t first_key, int64_t begin, int64_t end) {
    if (tile_.n_regimes == 1) return ScoreRegime(0, first_key, begin, end, scratch_.scores.get());
    // Farthest regime first. The blocks before `scored` have the scores of farther regimes: what rows see of them in
    // this regime replaces those.
    int64_t scored = begin;
    for (int regime = tile_.n_regimes - 1; regime >= 0; --regime) {
      // The blocks that any row sees a key of this regime in.
      const int64_t first = FirstKey(regime, 0) / kBlockTokens * kBlockTokens - first_key;
      const int64_t last =
          regime == 0 ? end : BlocksFor(FirstKey(regime - 1, tile_.n_tokens - 1)) * kBlockTokens - first_key;
      const int64_t from = std::clamp(first, begin, end), to = std::clamp(last, begin, end);
      if (from < scored) {
        ScoreRegime(regime, first_key, from, scored, scratch_.near_scores.get());
        TakeNearScores(regime, first_key, from, scored);
      }
      if (scored < to) {
        ScoreRegime(regime, first_key, scored, to, scratch_.scores.get());
        scored = to;
      }
    }
  }

  // The scores of all rows' queries of one regime.
  void ScoreRegime(int regime, int64_t first_key, int64_t begin, int64_t end, float* scores) {
    const T* keys[kMaxChunkBlocks];
    if (regime == 0 && tile_.has_near_keys) {
      FindNearBlocks(first_key + begin, end - begin, keys);
    } else {
      FindBlocks(first_key + begin, end - begin, 0, keys);
    }
    ScoreBlocks(keys, queries_[regime], begin, end, scores);
  }

  // Of keys begin..end-1 those that a row sees in this regime or a nearer one.
  void TakeNearScores(int regime, int64_t first_key, int64_t begin, int64_t end) {
    for (int64_t r = 0; r < rows_; ++r) {
      const int64_t from = std::clamp(FirstKey(regime, r / tile_.n_heads) - first_key, begin, end);
      std::copy_n(&scratch_.near_scores[r * kScoreStride + from], end - from,
                  &scratch_.scores[r * kScoreStride + from]);
    }
  }

  void ScoreBlocks(const T* const* keys, const float* const* queries, int64_t begin, int64_t end, float* scores) {
    if (widen_keys_) {
      const float* wide[kMaxChunkBlocks];
      WidenKeys(keys, end - begin, wide);
      Scores(wide, queries, begin, end, scores);
    } else {
      Scores(keys, queries, begin, end, scores);
    }
  }

  void WidenKeys(const T* const* keys, int64_t n_keys, const float** wide) {
    const D d;
    const int64_t size = head_dim_ * kBlockTokens;
    for (int64_t b = 0; b * kBlockTokens < n_keys; ++b) {
      float* const out = &scratch_.widened[b * size];
      for (int64_t i = 0; i < size; i += kLanes) hn::Store(LoadF32(d, keys[b] + i), d, out + i);
      wide[b] = out;
    }
  }

  void WidenValues(const T* const* values, int64_t n_keys, const float** wide) {
    const D d;
    const D1 d1;
    for (int64_t key = 0; key < n_keys; ++key) {
      const T* const value = values[key / kBlockTokens] + key % kBlockTokens * head_dim_;
      float* const out = &scratch_.widened[key * padded_dim_];
      int64_t i = 0;
      for (; i + kLanes <= head_dim_; i += kLanes) hn::Store(LoadF32(d, value + i), d, out + i);
      for (; i < head_dim_; ++i) hn::Store(LoadF32(d1, value + i), d1, out + i);
      for (; i < padded_dim_; ++i) out[i] = 0;
      if (key % kBlockTokens == 0) wide[key / kBlockTokens] = out;
    }
  }

  // Keys begin..end-1 of the range, whose blocks are `keys`.
  template <class E>
  void Scores(const E* const* keys, const float* const* query_rows, int64_t begin, int64_t end, float* all_scores) {
    for (int64_t first = 0; first < rows_; first += kGroupRows) {
      const int64_t n = std::min(kGroupRows, rows_ - first);
      const int64_t n_keys = std::min(end, scratch_.n_keys[first + n - 1]) - begin;
      if (n_keys <= 0) continue;
      const float* const* const queries = query_rows + first;
      float* const scores = all_scores + first * kScoreStride + begin;
      WithRows(n, [&](auto r) HWY_ATTR { ScoreKeysOfRows<r()>(queries, keys, n_keys, head_dim_, scores); });
    }
  }

  template <class E>
  void Values(const E* const* values, int64_t begin, int64_t end) {
    for (int64_t first = 0; first < rows_; first += kGroupRows) {
      const int64_t n = std::min(kGroupRows, rows_ - first);
      const float* const weights = &scratch_.scores[first * kScoreStride + begin];
      float* const out = &scratch_.range_out[first * padded_dim_];
      // The keys that all rows see together, then what later rows see beyond.
      const int64_t common = std::clamp(scratch_.n_keys[first], begin, end);
      if (common > begin) {
        WithRows(n,
                 [&](auto r) HWY_ATTR { AddValuesOfRows<r()>(weights, values, 0, common - begin, padded_dim_, out); });
      }
      for (int64_t r = 0; r < n; ++r) {
        const int64_t stop = std::min(end, scratch_.n_keys[first + r]);
        if (stop <= common) continue;
        AddValuesOfRows<1>(weights + r * kScoreStride, values, common - begin, stop - begin, padded_dim_,
                           out + r * padded_dim_);
      }
    }
  }

  const AttentionTile& tile_;
  AttentionScratch& scratch_;
  const int64_t rows_, head_dim_, padded_dim_;
  const bool widen_keys_, widen_values_;
  const float* queries_[kMaxRegimes][kTileRows];  // of each row
};

// The state of row r, which begins as its range 0.
void MergeRow(int64_t range, float range_max, float range_sum, const float* range_out, int64_t padded_dim, int64_t r,
              AttentionScratch& scratch) {
  float* const out = &scratch.out[r * padded_dim];
  if (range == 0) {
    scratch.max[r] = range_max;
    scratch.sum[r] = range_sum;
    std::copy_n(range_out, padded_dim, out);
  } else {
    Merge(range_max, range_sum, range_out, padded_dim, scratch.max[r], scratch.sum[r], out);
  }
}

void WriteOut(const AttentionTile& tile, const AttentionScratch& scratch) {
  const int64_t head_dim = tile.shape.head_dim;
  for (int64_t r = 0; r < tile.n_rows(); ++r) {
    const float* const row = &scratch.out[r * tile.shape.padded_dim()];
    float* const out = tile.out + r / tile.n_heads * tile.out_stride + r % tile.n_heads * head_dim;
    for (int64_t i = 0; i < head_dim; ++i) out[i] = row[i] / scratch.sum[r];
  }
}

void AttendTileRanges(const AttentionTile& tile, AttentionScratch& scratch) {
  const int64_t padded_dim = tile.shape.padded_dim();
  WithElement(tile.shape.type, [&](auto element) HWY_ATTR {
    TileWorker<decltype(element)> worker(tile, scratch);
    for (int64_t range = 0; range < tile.n_ranges(); ++range) {
      worker.Range(range);
      for (int64_t r = 0; r < tile.n_rows(); ++r) {
        if (scratch.n_keys[r] == 0) continue;
        MergeRow(range, scratch.range_max[r], scratch.range_sum[r], &scratch.range_out[r * padded_dim], padded_dim, r,
                 scratch);
      }
    }
  });
  WriteOut(tile, scratch);
}

void AttendSomeRanges(const AttentionTile& tile, int64_t first_range, int64_t n_ranges, const Partials& partials,
                      AttentionScratch& scratch) {
  const int64_t padded_dim = tile.shape.padded_dim();
  WithElement(tile.shape.type, [&](auto element) HWY_ATTR {
    TileWorker<decltype(element)> worker(tile, scratch);
    for (int64_t range = first_range; range < first_range + n_ranges; ++range) {
      worker.Range(range);
      for (int64_t r = 0; r < tile.n_rows(); ++r) {
        if (scratch.n_keys[r] == 0) continue;
        const int64_t i = range * tile.n_rows() + r;
        partials.stats[2 * i] = scratch.range_max[r];
        partials.stats[2 * i + 1] = scratch.range_sum[r];
        std::copy_n(&scratch.range_out[r * padded_dim], padded_dim, partials.out + i * padded_dim);
      }
    }
  });
}

void MergeAllRanges(const AttentionTile& tile, const Partials& partials, AttentionScratch& scratch) {
  const int64_t padded_dim = tile.shape.padded_dim();
  for (int64_t r = 0; r < tile.n_rows(); ++r) {
    const int64_t n_ranges = (tile.first_position + r / tile.n_heads) / kRangeKeys + 1;
    for (int64_t range = 0; range < n_ranges; ++range) {
      const int64_t i = range * tile.n_rows() + r;
      MergeRow(range, partials.stats[2 * i], partials.stats[2 * i + 1], partials.out + i * padded_dim, padded_dim, r,
               scratch);
    }
  }
  WriteOut(tile, scratch);
}

}  // namespace HWY_NAMESPACE
}  // namespace longhaul::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace longhaul::cpu {

HWY_EXPORT(AttendTileRanges);
HWY_EXPORT(AttendSomeRanges);
HWY_EXPORT(MergeAllRanges);

AttentionScratch::AttentionScratch(const HeadShape& shape)
    : chunk_blocks(std::clamp<int64_t>(256 / shape.head_dim, 1, kMaxChunkBlocks)),
      scores(NewFloats(kTileRows * kScoreStride)),
      near_scores(NewFloats(kTileRows * kScoreStride)),
      range_out(NewFloats(kTileRows * shape.padded_dim())),
      out(NewFloats(kTileRows * shape.padded_dim())),
      widened(NewFloats(chunk_blocks * kBlockTokens * shape.padded_dim())) {}

void AttendTile(const AttentionTile& tile, AttentionScratch& scratch) {
  HWY_DYNAMIC_DISPATCH(AttendTileRanges)(tile, scratch);
}

void AttendRanges(const AttentionTile& tile, int64_t first_range, int64_t n_ranges, const Partials& partials,
                  AttentionScratch& scratch) {
  HWY_DYNAMIC_DISPATCH(AttendSomeRanges)(tile, first_range, n_ranges, partials, scratch);
}

void MergeRanges(const AttentionTile& tile, const Partials& partials, AttentionScratch& scratch) {
  HWY_DYNAMIC_DISPATCH(MergeAllRanges)(tile, partials, scratch);
}

}  // namespace longhaul::cpu
#endif
