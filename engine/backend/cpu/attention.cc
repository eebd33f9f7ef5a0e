#include "engine/backend/cpu/attention.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "engine/backend/cpu/aligned_floats.h"
#include "engine/backend/cpu/attention_tile.h"
#include "engine/backend/cpu/rotate_and_store.h"
#include "engine/position/rotary_table.h"

namespace longhaul::cpu {
namespace {

// Pieces of work that a step is cut into at least, where its rows are long enough: enough for many cores to share.
constexpr int64_t kWantedPieces = 64;

// Tiles of more rows are not cut by ranges: there are enough of them, and the partial results would take much memory.
constexpr int64_t kMostSplitRows = 16;

// New tokens of one row that lie in one block: whoever writes them shares no line with another thread.
struct StorePiece {
  int64_t row, first_token, n_tokens;  // of the row's new tokens
};

// Query tokens of a row times query heads of a kv head; all ranges of keys, or some of them.
struct TilePiece {
  int64_t row, first_token, n_tokens;  // of the row's new tokens
  int64_t kv_head, first_head, n_heads;
  int64_t first_range, n_ranges;
  int64_t first_partial;  // where the partial results of its tile begin; -1: it has all ranges
};

// Keeps what it has while that is enough.
class GrowingFloats {
 public:
  float* AtLeast(int64_t n) {
    if (n > size_) {
      floats_ = AllocateFloats(n);
      size_ = n;
    }
    return floats_.get();
  }

 private:
  AlignedFloats floats_;
  int64_t size_ = 0;
};

}  // namespace

struct Attention::Impl {
  Impl(KvCache& the_cache, WorkerPool& the_pool) : cache(the_cache), pool(the_pool), shape(the_cache.head_shape()) {
    for (int thread = 0; thread < pool.threads(); ++thread) scratch.emplace_back(shape);
  }

  const RotaryTable& TableOf(const RotaryPlan& plan);
  void FindAngles();
  void PlanStores();
  void PlanTiles();
  AttentionTile TileOf(const TilePiece& piece, int64_t layer, const float* qkv, float* out) const;
  void Store(const StorePiece& piece, int64_t layer, float* qkv) const;

  int64_t QkvWidth() const { return (shape.n_heads + 2 * shape.n_kv_heads) * shape.head_dim; }
  int64_t OutWidth() const { return shape.n_heads * shape.head_dim; }
  Partials PartialsAt(int64_t first_partial) const {
    return {partial_out + first_partial * shape.padded_dim(), partial_stats + 2 * first_partial};
  }

  KvCache& cache;
  WorkerPool& pool;
  const HeadShape shape;
  std::vector<AttentionScratch> scratch;  // of each thread
  std::vector<std::pair<Fingerprint, std::unique_ptr<RotaryTable>>> tables;

  // Of the step at hand.
  const Batch* batch = nullptr;
  std::vector<const RotaryTable*> plan_tables;  // of Batch::plans
  std::vector<float> query_scales;              // of Batch::plans
  int64_t angle_stride = 0;
  float* angles = nullptr;  // [n_tokens][cosines, sines: angle_stride / 2 each]
  std::vector<StorePiece> stores;
  std::vector<TilePiece> tiles;
  std::vector<TilePiece> merges;  // tiles that are cut by ranges
  float* partial_out = nullptr;
  float* partial_stats = nullptr;
  GrowingFloats angle_memory, partial_out_memory, partial_stats_memory;
};

Attention::Attention(KvCache& cache, WorkerPool& pool) : impl_(std::make_unique<Impl>(cache, pool)) {}

Attention::~Attention() = default;

void Attention::BeginStep(const Batch& batch) {
  impl_->batch = &batch;
  impl_->FindAngles();
  impl_->PlanStores();
  impl_->PlanTiles();
}

void Attention::Run(int64_t layer, float* qkv, float* out) {
  Impl& a = *impl_;
  const auto size = [](const auto& pieces) { return static_cast<int64_t>(pieces.size()); };
  a.pool.ParallelFor(size(a.stores), [&](int64_t i, int) { a.Store(a.stores[static_cast<size_t>(i)], layer, qkv); });
  a.pool.ParallelFor(size(a.tiles), [&](int64_t i, int thread) {
    const TilePiece& piece = a.tiles[static_cast<size_t>(i)];
    const AttentionTile tile = a.TileOf(piece, layer, qkv, out);
    AttentionScratch& scratch = a.scratch[static_cast<size_t>(thread)];
    if (piece.first_partial < 0) {
      AttendTile(tile, scratch);
    } else {
      AttendRanges(tile, piece.first_range, piece.n_ranges, a.PartialsAt(piece.first_partial), scratch);
    }
  });
  a.pool.ParallelFor(size(a.merges), [&](int64_t i, int thread) {
    const TilePiece& piece = a.merges[static_cast<size_t>(i)];
    MergeRanges(a.TileOf(piece, layer, qkv, out), a.PartialsAt(piece.first_partial),
                a.scratch[static_cast<size_t>(thread)]);
  });
}

const RotaryTable& Attention::Impl::TableOf(const RotaryPlan& plan) {
  for (const auto& [fingerprint, table] : tables) {
    if (fingerprint == plan.fingerprint) return *table;
  }
  tables.emplace_back(plan.fingerprint, std::make_unique<RotaryTable>(plan.inv_freq, cache.shape().max_positions));
  return *tables.back().second;
}

void Attention::Impl::FindAngles() {
  constexpr size_t kMostIdleTables = 64;
  if (tables.size() > kMostIdleTables) tables.clear();
  plan_tables.clear();
  query_scales.clear();
  int64_t most_pairs = 0;
  for (const RotaryPlan* plan : batch->plans) {
    plan_tables.push_back(&TableOf(*plan));
    query_scales.push_back(static_cast<float>(plan->query_scale / std::sqrt(static_cast<double>(shape.head_dim))));
    most_pairs = std::max(most_pairs, plan_tables.back()->pairs());
  }
  angle_stride = 2 * most_pairs;
  angles = angle_memory.AtLeast(batch->n_tokens() * angle_stride);
  for (const BatchRow& row : batch->rows) {
    const RotaryTable& table = *plan_tables[static_cast<size_t>(row.plan)];
    for (int64_t t = 0; t < row.n_new; ++t) {
      float* const cosines = angles + (row.first_token + t) * angle_stride;
      table.Angles(row.length + t, cosines, cosines + angle_stride / 2);
    }
  }
}

void Attention::Impl::PlanStores() {
  stores.clear();
  for (size_t row = 0; row < batch->rows.size(); ++row) {
    const BatchRow& r = batch->rows[row];
    for (int64_t t = 0; t < r.n_new;) {
      const int64_t n = std::min(r.n_new - t, kBlockTokens - (r.length + t) % kBlockTokens);
      stores.push_back({static_cast<int64_t>(row), t, n});
      t += n;
    }
  }
}

void Attention::Impl::PlanTiles() {
  tiles.clear();
  merges.clear();
  const int64_t group_heads = shape.n_heads / shape.n_kv_heads;
  const int64_t tile_heads = std::min(group_heads, kTileRows);
  const int64_t tile_tokens = kTileRows / tile_heads;
  int64_t total_ranges = 0;
  for (size_t row = 0; row < batch->rows.size(); ++row) {
    const BatchRow& r = batch->rows[row];
    for (int64_t t = 0; t < r.n_new; t += tile_tokens) {
      const int64_t n_tokens = std::min(tile_tokens, r.n_new - t);
      const int64_t n_ranges = (r.length + t + n_tokens - 1) / kRangeKeys + 1;
      for (int64_t kv_head = 0; kv_head < shape.n_kv_heads; ++kv_head) {
        for (int64_t h = 0; h < group_heads; h += tile_heads) {
          const int64_t n_heads = std::min(tile_heads, group_heads - h);
          tiles.push_back(
              {static_cast<int64_t>(row), t, n_tokens, kv_head, kv_head * group_heads + h, n_heads, 0, n_ranges, -1});
          total_ranges += n_ranges;
        }
      }
    }
  }

  const int64_t piece_ranges = (total_ranges + kWantedPieces - 1) / kWantedPieces;
  int64_t partials = 0;
  for (size_t i = 0, whole = tiles.size(); i < whole; ++i) {
    TilePiece piece = tiles[i];
    const int64_t rows = piece.n_tokens * piece.n_heads, n_ranges = piece.n_ranges;
    if (n_ranges <= piece_ranges || rows > kMostSplitRows) continue;
    piece.first_partial = partials;
    partials += n_ranges * rows;
    merges.push_back(piece);
    piece.n_ranges = piece_ranges;
    tiles[i] = piece;
    for (int64_t first = piece_ranges; first < n_ranges; first += piece_ranges) {
      piece.first_range = first;
      piece.n_ranges = std::min(piece_ranges, n_ranges - first);
      tiles.push_back(piece);
    }
  }
  partial_out = partial_out_memory.AtLeast(partials * shape.padded_dim());
  partial_stats = partial_stats_memory.AtLeast(partials * 2);
  // The longest first, so that no thread begins one when the others are done.
  std::stable_sort(tiles.begin(), tiles.end(), [](const TilePiece& a, const TilePiece& b) {
    return a.n_ranges * a.n_tokens * a.n_heads > b.n_ranges * b.n_tokens * b.n_heads;
  });
}

AttentionTile Attention::Impl::TileOf(const TilePiece& piece, int64_t layer, const float* qkv, float* out) const {
  const BatchRow& row = batch->rows[static_cast<size_t>(piece.row)];
  const int64_t token = row.first_token + piece.first_token;
  AttentionTile tile;
  tile.shape = shape;
  tile.pages = cache.Page(layer, 0);
  tile.block_stride = cache.block_bytes();
  tile.block_table = row.block_table.data();
  tile.kv_head = piece.kv_head;
  tile.n_tokens = piece.n_tokens;
  tile.n_heads = piece.n_heads;
  tile.first_position = row.length + piece.first_token;
  tile.queries = qkv + token * QkvWidth() + piece.first_head * shape.head_dim;
  tile.query_stride = QkvWidth();
  tile.out = out + token * OutWidth() + piece.first_head * shape.head_dim;
  tile.out_stride = OutWidth();
  return tile;
}

void Attention::Impl::Store(const StorePiece& piece, int64_t layer, float* qkv) const {
  const BatchRow& row = batch->rows[static_cast<size_t>(piece.row)];
  const size_t plan = static_cast<size_t>(row.plan);
  const int64_t position = row.length + piece.first_token;
  std::byte* const page = cache.Page(layer, row.block_table[static_cast<size_t>(position / kBlockTokens)]);
  for (int64_t t = 0; t < piece.n_tokens; ++t) {
    const int64_t token = row.first_token + piece.first_token + t;
    const float* const cosines = angles + token * angle_stride;
    RotateAndStore(shape, cosines, cosines + angle_stride / 2, plan_tables[plan]->pairs(), query_scales[plan],
                   qkv + token * QkvWidth(), page, (position + t) % kBlockTokens);
  }
}

}  // namespace longhaul::cpu
