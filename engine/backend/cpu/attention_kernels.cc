#include "engine/backend/cpu/attention_kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/backend/cpu/attention_kernels.cc"
#include "hwy/foreach_target.h"
// The line above compiles this file once per instruction set.
#include <algorithm>
#include <cstring>
#include <limits>

#include "engine/backend/cpu/cache_element-inl.h"
#include "engine/base/exp-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace longhaul::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;
constexpr int64_t kLanes = HWY_LANES(float) < kBlockTokens ? HWY_LANES(float) : kBlockTokens;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

constexpr int64_t kQueryRows = 8;  // of a register tile of scores
constexpr int64_t kScoreVectors = 2;
constexpr int64_t kValueRows = HWY_LANES(float) >= 16 ? 6 : 4;  // of a register tile of weighted values
constexpr int64_t kValueVectors = HWY_LANES(float) >= 16 ? 4 : 2;

// Keys of `range` that row `row` of the tile sees.
int64_t VisibleKeys(const AttentionTile& tile, int64_t range, int64_t row) {
  const int64_t position = tile.first_position + row / tile.n_heads;
  return std::clamp<int64_t>(position + 1 - range * kRangeKeys, 0, kRangeKeys);
}

// The element type's page of a block of the range.
template <class T>
const T* BlockAt(const AttentionTile& tile, int64_t range, int64_t block, int64_t offset) {
  const BlockId id = tile.block_table[range * (kRangeKeys / kBlockTokens) + block];
  return reinterpret_cast<const T*>(tile.pages + id * tile.block_stride + offset);
}

// scores[r][k] for 8 rows and the keys of kScoreVectors vectors: one chain over the dimensions each.
// queries [head_dim, 8]; keys[v] [head_dim] vectors, kBlockTokens apart.
HWY_INLINE void ScoreTile(const float* HWY_RESTRICT queries, const float* const* keys, int64_t head_dim,
                          float* HWY_RESTRICT scores, int64_t column) {
  const D d;
  V acc[kQueryRows][kScoreVectors];
  for (int64_t r = 0; r < kQueryRows; ++r) {
    for (int64_t v = 0; v < kScoreVectors; ++v) acc[r][v] = hn::Zero(d);
  }
  for (int64_t i = 0; i < head_dim; ++i) {
    V key[kScoreVectors];
    for (int64_t v = 0; v < kScoreVectors; ++v) key[v] = hn::LoadU(d, keys[v] + i * kBlockTokens);
    for (int64_t r = 0; r < kQueryRows; ++r) {
      const V query = hn::Set(d, queries[i * kQueryRows + r]);
      for (int64_t v = 0; v < kScoreVectors; ++v) acc[r][v] = hn::MulAdd(query, key[v], acc[r][v]);
    }
  }
  for (int64_t r = 0; r < kQueryRows; ++r) {
    for (int64_t v = 0; v < kScoreVectors; ++v) {
      hn::StoreU(acc[r][v], d, scores + r * kRangeKeys + column + v * kLanes);
    }
  }
}

// The same for `rows` rows, fewer than 8 (decode).
template <int64_t kRows>
HWY_INLINE void ScoreFew(const float* HWY_RESTRICT queries, const float* keys, int64_t head_dim,
                         float* HWY_RESTRICT scores, int64_t column) {
  const D d;
  for (int64_t lane = 0; lane < kBlockTokens; lane += kLanes) {
    V acc[kRows];
    for (V& a : acc) a = hn::Zero(d);
    for (int64_t i = 0; i < head_dim; ++i) {
      const V key = hn::LoadU(d, keys + i * kBlockTokens + lane);
      for (int64_t r = 0; r < kRows; ++r) acc[r] = hn::MulAdd(hn::Set(d, queries[i * kQueryRows + r]), key, acc[r]);
    }
    for (int64_t r = 0; r < kRows; ++r) hn::StoreU(acc[r], d, scores + r * kRangeKeys + column + lane);
  }
}

template <class T>
void WidenKeys(const T* in, int64_t n, float* out) {
  const D d;
  for (int64_t i = 0; i < n; i += kLanes) hn::StoreU(LoadF32(d, in + i), d, out + i);
}

// All scores of the tile's rows with the keys of the range; what lies past a row's visible keys is left undefined.
template <class T>
void ScoreRange(const AttentionTile& tile, int64_t range, int64_t n_keys, AttentionScratch& scratch) {
  const int64_t n_blocks = (n_keys + kBlockTokens - 1) / kBlockTokens;
  const int64_t block_floats = tile.head_dim * kBlockTokens;
  const float* keys[kRangeKeys / kBlockTokens + 1];
  for (int64_t b = 0; b < n_blocks; ++b) {
    const T* page = BlockAt<T>(tile, range, b, tile.keys_offset);
    if constexpr (std::is_same_v<T, float>) {
      keys[b] = page;
    } else {
      float* const widened = scratch.keys.get() + b * block_floats;
      WidenKeys(page, block_floats, widened);
      keys[b] = widened;
    }
  }
  const int64_t n_rows = tile.n_rows();
  for (int64_t row = 0; row < n_rows; row += kQueryRows) {
    const float* queries = scratch.queries.get() + row * tile.head_dim;
    float* scores = scratch.scores.get() + row * kRangeKeys;
    const int64_t rows = std::min(kQueryRows, n_rows - row);
    const int64_t seen = VisibleKeys(tile, range, row + rows - 1);
    const int64_t seen_blocks = (seen + kBlockTokens - 1) / kBlockTokens;
    if (rows <= 4) {
      for (int64_t b = 0; b < seen_blocks; ++b) {
        switch (rows) {
          case 1:
            ScoreFew<1>(queries, keys[b], tile.head_dim, scores, b * kBlockTokens);
            break;
          case 2:
            ScoreFew<2>(queries, keys[b], tile.head_dim, scores, b * kBlockTokens);
            break;
          case 3:
            ScoreFew<3>(queries, keys[b], tile.head_dim, scores, b * kBlockTokens);
            break;
          default:
            ScoreFew<4>(queries, keys[b], tile.head_dim, scores, b * kBlockTokens);
            break;
        }
      }
      continue;
    }
    constexpr int64_t kStep = kScoreVectors * kLanes;
    for (int64_t column = 0; column < seen_blocks * kBlockTokens; column += kStep) {
      const float* vectors[kScoreVectors];
      for (int64_t v = 0; v < kScoreVectors; ++v) {
        const int64_t key = column + v * kLanes;
        // A vector past the last block reads the last one again; its scores are not used.
        const int64_t block = std::min(key / kBlockTokens, seen_blocks - 1);
        vectors[v] = keys[block] + key % kBlockTokens;
      }
      ScoreTile(queries, vectors, tile.head_dim, scores, column);
    }
  }
}

// Scores -> weights exp(score - maximum), in place; past n_keys up to a whole block they become 0.
void SoftmaxRow(float* scores, int64_t n_keys, float* max_out, float* sum_out) {
  const D d;
  const int64_t padded = (n_keys + kBlockTokens - 1) / kBlockTokens * kBlockTokens;
  for (int64_t i = n_keys; i < padded; ++i) scores[i] = -kInfinity;
  V max_v = hn::Set(d, -kInfinity);
  for (int64_t i = 0; i < padded; i += kLanes) max_v = hn::Max(max_v, hn::LoadU(d, scores + i));
  const float max = hn::GetLane(hn::MaxOfLanes(d, max_v));
  constexpr int64_t kVectors = kBlockTokens / kLanes;
  V sums[kVectors];
  for (V& sum : sums) sum = hn::Zero(d);
  const V shift = hn::Set(d, max);
  for (int64_t i = 0; i < padded; i += kBlockTokens) {
    for (int64_t v = 0; v < kVectors; ++v) {
      float* const at = scores + i + v * kLanes;
      const V weight = longhaul::HWY_NAMESPACE::Exp(d, hn::Sub(hn::LoadU(d, at), shift));
      hn::StoreU(weight, d, at);
      sums[v] = hn::Add(sums[v], weight);
    }
  }
  float lanes[kBlockTokens];
  for (int64_t v = 0; v < kVectors; ++v) hn::StoreU(sums[v], d, lanes + v * kLanes);
  for (int64_t half = kBlockTokens / 2; half > 0; half /= 2) {
    for (int64_t j = 0; j < half; ++j) lanes[j] += lanes[j + half];
  }
  *max_out = max;
  *sum_out = lanes[0];
}

// out[r][dims] = sum over keys [begin, end) of weights[r][key] * value[key][dims], ascending, onto what stands there.
template <int64_t kRows, int64_t kVectors, class Tag, class T>
HWY_INLINE void WeighValues(Tag d, const AttentionTile& tile, int64_t range, int64_t begin, int64_t end,
                            const float* weights, int64_t dim, float* out) {
  using Vector = hn::Vec<Tag>;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  Vector acc[kRows][kVectors];
  for (int64_t r = 0; r < kRows; ++r) {
    for (int64_t v = 0; v < kVectors; ++v) acc[r][v] = hn::LoadU(d, out + r * tile.head_dim + dim + v * lanes);
  }
  for (int64_t key = begin; key < end;) {
    const T* values = BlockAt<T>(tile, range, key / kBlockTokens, tile.values_offset) + dim;
    const int64_t block_end = std::min(end, (key / kBlockTokens + 1) * kBlockTokens);
    for (; key < block_end; ++key) {
      const T* const value = values + key % kBlockTokens * tile.head_dim;
      Vector x[kVectors];
      for (int64_t v = 0; v < kVectors; ++v) x[v] = LoadF32(d, value + v * lanes);
      for (int64_t r = 0; r < kRows; ++r) {
        const Vector weight = hn::Set(d, weights[r * kRangeKeys + key]);
        for (int64_t v = 0; v < kVectors; ++v) acc[r][v] = hn::MulAdd(weight, x[v], acc[r][v]);
      }
    }
  }
  for (int64_t r = 0; r < kRows; ++r) {
    for (int64_t v = 0; v < kVectors; ++v) hn::StoreU(acc[r][v], d, out + r * tile.head_dim + dim + v * lanes);
  }
}

template <int64_t kRows, class T>
void WeighRows(const AttentionTile& tile, int64_t range, int64_t begin, int64_t end, const float* weights, float* out) {
  if (begin >= end) return;
  constexpr int64_t kWide = kValueVectors * kLanes;
  int64_t dim = 0;
  for (; dim + kWide <= tile.head_dim; dim += kWide) {
    WeighValues<kRows, kValueVectors, D, T>(D(), tile, range, begin, end, weights, dim, out);
  }
  for (; dim + kLanes <= tile.head_dim; dim += kLanes) {
    WeighValues<kRows, 1, D, T>(D(), tile, range, begin, end, weights, dim, out);
  }
  using One = hn::CappedTag<float, 1>;
  for (; dim < tile.head_dim; ++dim) WeighValues<kRows, 1, One, T>(One(), tile, range, begin, end, weights, dim, out);
}

template <class T>
void WeighRange(const AttentionTile& tile, int64_t range, AttentionScratch& scratch, float* out) {
  const int64_t n_rows = tile.n_rows();
  std::fill(out, out + n_rows * tile.head_dim, 0.0f);
  for (int64_t row = 0; row < n_rows;) {
    const int64_t rows = std::min(kValueRows, n_rows - row);
    const float* weights = scratch.scores.get() + row * kRangeKeys;
    float* const rows_out = out + row * tile.head_dim;
    // Together as far as the first of them sees, then each by itself: a chain over its own keys either way.
    int64_t together = 0;
    if (rows == kValueRows) {
      together = VisibleKeys(tile, range, row);
      WeighRows<kValueRows, T>(tile, range, 0, together, weights, rows_out);
    } else if (rows == 3) {
      together = VisibleKeys(tile, range, row);
      WeighRows<3, T>(tile, range, 0, together, weights, rows_out);
    }
    for (int64_t r = 0; r < rows; ++r) {
      WeighRows<1, T>(tile, range, together, VisibleKeys(tile, range, row + r), weights + r * kRangeKeys,
                      rows_out + r * tile.head_dim);
    }
    row += rows;
  }
}

void InterleaveQueries(const AttentionTile& tile, AttentionScratch& scratch) {
  const int64_t n_rows = tile.n_rows();
  for (int64_t row = 0; row < n_rows; ++row) {
    const float* query = tile.queries + row / tile.n_heads * tile.query_stride + row % tile.n_heads * tile.head_dim;
    float* const out = scratch.queries.get() + row / kQueryRows * kQueryRows * tile.head_dim + row % kQueryRows;
    for (int64_t i = 0; i < tile.head_dim; ++i) out[i * kQueryRows] = query[i];
  }
}

template <class T>
void RangeOf(const AttentionTile& tile, int64_t range, float* partial, AttentionScratch& scratch) {
  const int64_t n_rows = tile.n_rows();
  ScoreRange<T>(tile, range, VisibleKeys(tile, range, n_rows - 1), scratch);
  float* const stats = partial + n_rows * tile.head_dim;
  for (int64_t row = 0; row < n_rows; ++row) {
    SoftmaxRow(scratch.scores.get() + row * kRangeKeys, VisibleKeys(tile, range, row), &stats[2 * row],
               &stats[2 * row + 1]);
  }
  WeighRange<T>(tile, range, scratch, partial);
}

void RunRange(const AttentionTile& tile, int64_t range, float* partial, AttentionScratch& scratch) {
  switch (tile.type) {
    case CacheType::kBf16:
      return RangeOf<Bf16>(tile, range, partial, scratch);
    case CacheType::kF16:
      return RangeOf<F16>(tile, range, partial, scratch);
    default:
      return RangeOf<float>(tile, range, partial, scratch);
  }
}

float ExpOf(float x) {
  const hn::CappedTag<float, 1> d;
  return hn::GetLane(longhaul::HWY_NAMESPACE::Exp(d, hn::Set(d, x)));
}

// Merges a range's results of one row into those of the ranges before it.
void MergeRow(const float* range_out, float range_max, float range_sum, int64_t head_dim, float* out, float* max,
              float* sum) {
  const float new_max = std::max(*max, range_max);
  const float old_scale = ExpOf(*max - new_max), scale = ExpOf(range_max - new_max);
  *sum = *sum * old_scale + range_sum * scale;
  *max = new_max;
  for (int64_t i = 0; i < head_dim; ++i) out[i] = out[i] * old_scale + range_out[i] * scale;
}

float* RowOut(const AttentionTile& tile, int64_t row) {
  return tile.out + row / tile.n_heads * tile.out_stride + row % tile.n_heads * tile.head_dim;
}

// Merges one range of the tile; the first one is taken as it is. max, sum [n_rows].
void MergeRange(const AttentionTile& tile, int64_t range, const float* partial, float* max, float* sum) {
  const float* const stats = partial + tile.n_rows() * tile.head_dim;
  for (int64_t row = 0; row < tile.n_rows(); ++row) {
    const float* const range_out = partial + row * tile.head_dim;
    if (range == 0) {
      std::copy(range_out, range_out + tile.head_dim, RowOut(tile, row));
      max[row] = stats[2 * row];
      sum[row] = stats[2 * row + 1];
    } else if (VisibleKeys(tile, range, row) > 0) {
      MergeRow(range_out, stats[2 * row], stats[2 * row + 1], tile.head_dim, RowOut(tile, row), &max[row], &sum[row]);
    }
  }
}

void DivideBySums(const AttentionTile& tile, const float* sum) {
  for (int64_t row = 0; row < tile.n_rows(); ++row) {
    float* const out = RowOut(tile, row);
    for (int64_t i = 0; i < tile.head_dim; ++i) out[i] /= sum[row];
  }
}

void RunTile(const AttentionTile& tile, AttentionScratch& scratch) {
  InterleaveQueries(tile, scratch);
  float max[kTileRows], sum[kTileRows];
  for (int64_t range = 0; range < tile.n_ranges(); ++range) {
    RunRange(tile, range, scratch.partial.get(), scratch);
    MergeRange(tile, range, scratch.partial.get(), max, sum);
  }
  DivideBySums(tile, sum);
}

void RunOneRange(const AttentionTile& tile, int64_t range, float* partial, AttentionScratch& scratch) {
  InterleaveQueries(tile, scratch);
  RunRange(tile, range, partial, scratch);
}

void RunMerge(const AttentionTile& tile, const float* partials) {
  float max[kTileRows], sum[kTileRows];
  for (int64_t range = 0; range < tile.n_ranges(); ++range) {
    MergeRange(tile, range, partials + range * PartialFloats(tile), max, sum);
  }
  DivideBySums(tile, sum);
}

template <class T>
void StoreElements(const float* row, int64_t n, int64_t stride, T* out) {
  T rounded[64];
  for (int64_t i = 0; i < n; i += 64) {
    const int64_t count = std::min<int64_t>(64, n - i);
    if (stride == 1) {
      RoundRow(row + i, count, out + i);
      continue;
    }
    RoundRow(row + i, count, rounded);
    for (int64_t j = 0; j < count; ++j) out[(i + j) * stride] = rounded[j];
  }
}

void Store(CacheType type, const float* row, int64_t n, int64_t stride, std::byte* out) {
  switch (type) {
    case CacheType::kBf16:
      return StoreElements(row, n, stride, reinterpret_cast<Bf16*>(out));
    case CacheType::kF16:
      return StoreElements(row, n, stride, reinterpret_cast<F16*>(out));
    default:
      return StoreElements(row, n, stride, reinterpret_cast<float*>(out));
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace longhaul::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace longhaul::cpu {

HWY_EXPORT(RunTile);
HWY_EXPORT(RunOneRange);
HWY_EXPORT(RunMerge);
HWY_EXPORT(Store);

AttentionScratch::AttentionScratch(int64_t head_dim)
    : queries(AllocateFloats(kTileRows * head_dim)),
      scores(AllocateFloats(kTileRows * kRangeKeys)),
      keys(AllocateFloats(kRangeKeys * head_dim)),
      partial(AllocateFloats(kTileRows * (head_dim + 2))) {}

void AttendTile(const AttentionTile& tile, AttentionScratch& scratch) {
  HWY_DYNAMIC_DISPATCH(RunTile)(tile, scratch);
}

void AttendRange(const AttentionTile& tile, int64_t range, float* partial, AttentionScratch& scratch) {
  HWY_DYNAMIC_DISPATCH(RunOneRange)(tile, range, partial, scratch);
}

void MergeRanges(const AttentionTile& tile, const float* partials) {
  HWY_DYNAMIC_DISPATCH(RunMerge)(tile, partials);
}

void StoreRow(CacheType type, const float* row, int64_t n, int64_t stride, std::byte* out) {
  HWY_DYNAMIC_DISPATCH(Store)(type, row, n, stride, out);
}

}  // namespace longhaul::cpu
#endif
