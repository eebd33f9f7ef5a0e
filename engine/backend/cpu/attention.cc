#include "engine/backend/cpu/attention.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "engine/backend/cpu/attention_kernels.h"
#include "engine/position/rotary_table.h"

namespace longhaul::cpu {
namespace {

// Plans whose tables are kept; a batch with more makes them anew.
constexpr size_t kKeptTables = 16;

// Turns one head in place: pairs (i, i + pairs). The one rotation function (DESIGN.md section 10).
void Rotate(const float* cosines, const float* sines, int64_t pairs, float* head) {
  for (int64_t i = 0; i < pairs; ++i) {
    const float x = head[i], y = head[i + pairs];
    head[i] = x * cosines[i] - y * sines[i];
    head[i + pairs] = y * cosines[i] + x * sines[i];
  }
}

}  // namespace

struct Attention::Impl {
  // A tile of one row's new tokens and one kv head; a decode tile of several ranges is split over them.
  struct Piece {
    AttentionTile tile;
    int64_t first_token;    // of the batch
    int64_t head;           // the first query head
    int64_t partials = -1;  // where its ranges' results lie; -1: not split
  };

  Impl(KvCache& kv_cache, WorkerPool& worker_pool) : cache(kv_cache), pool(worker_pool) {
    for (int i = 0; i < pool.threads(); ++i) scratch.emplace_back(cache.shape().head_dim);
  }

  const RotaryTable& TableOf(const RotaryPlan& plan) {
    for (const auto& [fingerprint, table] : tables) {
      if (fingerprint == plan.fingerprint) return *table;
    }
    if (tables.size() >= kKeptTables) tables.erase(tables.begin());
    tables.emplace_back(plan.fingerprint, std::make_unique<RotaryTable>(plan.inv_freq, cache.shape().max_positions));
    return *tables.back().second;
  }

  void CutIntoPieces(const Batch& batch);

  KvCache& cache;
  WorkerPool& pool;
  std::vector<AttentionScratch> scratch;  // [threads]
  std::vector<std::pair<Fingerprint, std::unique_ptr<RotaryTable>>> tables;

  // Of the present step.
  const Batch* batch = nullptr;
  int64_t pairs_stride = 0;
  std::vector<float> angles;  // [n_tokens, cos and sin]
  std::vector<Piece> pieces;
  std::vector<std::pair<size_t, int64_t>> jobs;  // (piece, range or -1 for all)
  std::vector<size_t> split;                     // pieces that are merged at the end
  std::vector<float> partials;
};

Attention::Attention(KvCache& cache, WorkerPool& pool) : impl_(std::make_unique<Impl>(cache, pool)) {}
Attention::~Attention() = default;

void Attention::Impl::CutIntoPieces(const Batch& b) {
  const CacheShape& shape = cache.shape();
  const int64_t heads_per_kv = shape.n_heads / shape.n_kv_heads;
  const int64_t element = cache.type() == CacheType::kF32 ? 4 : 2;
  const int64_t head_bytes = shape.head_dim * kBlockTokens * element;
  // A kv head with more query heads than a tile holds is cut by heads.
  const int64_t tile_heads = std::min(heads_per_kv, kTileRows);
  const int64_t tile_tokens = std::max<int64_t>(1, kTileRows / tile_heads);
  pieces.clear();
  jobs.clear();
  split.clear();
  int64_t partial_floats = 0;
  for (const BatchRow& row : b.rows) {
    for (int64_t token = 0; token < row.n_new; token += tile_tokens) {
      for (int64_t head = 0; head < shape.n_heads; head += tile_heads) {
        const int64_t kv_head = head / heads_per_kv;
        const int64_t n_heads = std::min(tile_heads, (kv_head + 1) * heads_per_kv - head);
        Piece piece;
        AttentionTile& tile = piece.tile;
        tile.head_dim = shape.head_dim;
        tile.type = cache.type();
        tile.block_stride = cache.page_bytes() * shape.n_layers;
        tile.keys_offset = kv_head * head_bytes;
        tile.values_offset = (shape.n_kv_heads + kv_head) * head_bytes;
        tile.block_table = row.block_table.data();
        tile.n_tokens = std::min(tile_tokens, row.n_new - token);
        tile.n_heads = n_heads;
        tile.first_position = row.length + token;
        tile.query_stride = (shape.n_heads + 2 * shape.n_kv_heads) * shape.head_dim;
        tile.out_stride = shape.n_heads * shape.head_dim;
        piece.first_token = row.first_token + token;
        piece.head = head;
        if (row.n_new == 1 && tile.n_ranges() > 1) {
          piece.partials = partial_floats;
          partial_floats += tile.n_ranges() * PartialFloats(tile);
          split.push_back(pieces.size());
          for (int64_t range = 0; range < tile.n_ranges(); ++range) jobs.emplace_back(pieces.size(), range);
        } else {
          jobs.emplace_back(pieces.size(), -1);
        }
        pieces.push_back(piece);
        if (n_heads < tile_heads) head -= tile_heads - n_heads;
      }
    }
  }
  if (static_cast<int64_t>(partials.size()) < partial_floats) partials.resize(static_cast<size_t>(partial_floats));
}

void Attention::BeginStep(const Batch& batch) {
  Impl& s = *impl_;
  s.batch = &batch;
  s.pairs_stride = 0;
  std::vector<const RotaryTable*> tables;
  for (const RotaryPlan* plan : batch.plans) {
    tables.push_back(&s.TableOf(*plan));
    s.pairs_stride = std::max(s.pairs_stride, tables.back()->pairs());
  }
  s.angles.resize(static_cast<size_t>(batch.n_tokens() * 2 * s.pairs_stride));
  for (int64_t t = 0; t < batch.n_tokens(); ++t) {
    const BatchRow& row = batch.rows[static_cast<size_t>(batch.row_of[static_cast<size_t>(t)])];
    const RotaryTable& table = *tables[static_cast<size_t>(row.plan)];
    float* const angles = s.angles.data() + t * 2 * s.pairs_stride;
    table.Angles(batch.positions[static_cast<size_t>(t)], angles, angles + table.pairs());
  }
  s.CutIntoPieces(batch);
}

void Attention::Run(int64_t layer, float* qkv, float* out) {
  Impl& s = *impl_;
  const Batch& batch = *s.batch;
  const CacheShape& shape = s.cache.shape();
  const int64_t d = shape.head_dim;
  const int64_t qkv_width = (shape.n_heads + 2 * shape.n_kv_heads) * d;
  const int64_t element = s.cache.type() == CacheType::kF32 ? 4 : 2;

  constexpr int64_t kTokensPerPiece = 8;
  const int64_t n_tokens = batch.n_tokens();
  s.pool.ParallelFor((n_tokens + kTokensPerPiece - 1) / kTokensPerPiece, [&](int64_t piece, int) {
    for (int64_t t = piece * kTokensPerPiece; t < std::min(n_tokens, (piece + 1) * kTokensPerPiece); ++t) {
      const BatchRow& row = batch.rows[static_cast<size_t>(batch.row_of[static_cast<size_t>(t)])];
      const RotaryPlan& plan = *batch.plans[static_cast<size_t>(row.plan)];
      const int64_t pairs = static_cast<int64_t>(plan.inv_freq.size());
      const float* const cosines = s.angles.data() + t * 2 * s.pairs_stride;
      const float* const sines = cosines + pairs;
      const float scale = static_cast<float>(plan.query_scale / std::sqrt(static_cast<double>(d)));
      float* const queries = qkv + t * qkv_width;
      float* const keys = queries + shape.n_heads * d;
      float* const values = keys + shape.n_kv_heads * d;
      for (int64_t h = 0; h < shape.n_heads; ++h) Rotate(cosines, sines, pairs, queries + h * d);
      for (int64_t i = 0; i < shape.n_heads * d; ++i) queries[i] *= scale;
      const int64_t position = batch.positions[static_cast<size_t>(t)];
      const int64_t slot = position % kBlockTokens;
      std::byte* const page = s.cache.Page(layer, row.block_table[static_cast<size_t>(position / kBlockTokens)]);
      for (int64_t h = 0; h < shape.n_kv_heads; ++h) {
        Rotate(cosines, sines, pairs, keys + h * d);
        StoreRow(s.cache.type(), keys + h * d, d, kBlockTokens, page + (h * d * kBlockTokens + slot) * element);
        StoreRow(s.cache.type(), values + h * d, d, 1,
                 page + ((shape.n_kv_heads + h) * d * kBlockTokens + slot * d) * element);
      }
    }
  });

  const auto tile_of = [&](const Impl::Piece& piece) {
    AttentionTile tile = piece.tile;
    tile.pages = s.cache.Page(layer, 0);
    tile.queries = qkv + piece.first_token * qkv_width + piece.head * d;
    tile.out = out + piece.first_token * shape.n_heads * d + piece.head * d;
    return tile;
  };
  s.pool.ParallelFor(static_cast<int64_t>(s.jobs.size()), [&](int64_t job, int thread) {
    const auto [index, range] = s.jobs[static_cast<size_t>(job)];
    const Impl::Piece& piece = s.pieces[index];
    const AttentionTile tile = tile_of(piece);
    AttentionScratch& scratch = s.scratch[static_cast<size_t>(thread)];
    if (range < 0) {
      AttendTile(tile, scratch);
    } else {
      AttendRange(tile, range, s.partials.data() + piece.partials + range * PartialFloats(tile), scratch);
    }
  });
  if (s.split.empty()) return;
  s.pool.ParallelFor(static_cast<int64_t>(s.split.size()), [&](int64_t i, int) {
    const Impl::Piece& piece = s.pieces[s.split[static_cast<size_t>(i)]];
    MergeRanges(tile_of(piece), s.partials.data() + piece.partials);
  });
}

}  // namespace longhaul::cpu
