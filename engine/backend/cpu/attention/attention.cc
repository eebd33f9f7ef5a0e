#include "engine/backend/cpu/attention/attention.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "engine/backend/cpu/aligned_floats.h"
#include "engine/backend/cpu/attention/attention_tile.h"
#include "engine/backend/cpu/attention/near_key_rings.h"
#include "engine/backend/cpu/attention/rotate_and_store.h"
#include "engine/backend/cpu/growing_array.h"
#include "engine/position/plan_angles.h"

namespace longhaul::cpu {
namespace {

// Pieces of work that a step is cut into at least, where its rows are long enough: enough for many cores to share.
constexpr int64_t kWantedPieces = 64;

// Tiles of more rows are not cut by ranges: there are enough of them, and the partial results would take much memory.
// As a tile is cut only if it has more than 1 / kWantedPieces of all ranges, the partial results are at most
// kWantedPieces * kMaxSplitRows of each range of the longest row.
constexpr int64_t kMaxSplitRows = 16;

// Plans that no row of the step has: their angles are kept for rows to come.
constexpr int64_t kMaxIdlePlans = 64;

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
  size_t order;           // in which it was made

  int64_t work() const { return n_ranges * n_tokens * n_heads; }
};

// A plan whose angles are known.
struct KnownPlan {
  Fingerprint fingerprint;
  std::unique_ptr<const PlanAngles> angles;
  int64_t last_step;  // that had a row of the plan
};

}  // namespace

struct Attention::Impl {
  Impl(KvCache& the_cache, int64_t the_max_tokens, WorkerPool& the_pool, MakeAngles the_make_angles)
      : cache(the_cache),
        max_tokens(the_max_tokens),
        pool(the_pool),
        make_angles(std::move(the_make_angles)),
        shape(the_cache.head_shape()),
        angles(NewFloats(max_tokens * (kMaxRegimes + 1) * shape.head_dim)),
        query_scales(NewFloats(max_tokens)),
        first_keys(static_cast<size_t>(max_tokens * kMaxRegimes)),
        near_keys(the_cache, the_max_tokens) {
    for (int thread = 0; thread < pool.threads(); ++thread) scratch.emplace_back(shape);
    const auto tokens = static_cast<size_t>(max_tokens);
    plans.reserve(tokens);
    stores.reserve(tokens);
    const size_t tiles_at_most = tokens * static_cast<size_t>(shape.n_kv_heads * TilesOfKvHead()) + kWantedPieces;
    tiles.reserve(tiles_at_most);
    dealt.reserve(tiles_at_most);
    merges.reserve(kWantedPieces);
  }

  KnownPlan* Find(const RotaryPlan& plan);
  const PlanAngles& AnglesOf(const RotaryPlan& plan);
  void ForgetIdlePlans();
  void FindPlans();
  void FindAngles();
  TokenTurns TurnsOf(const PlanAngles& plan, int64_t token) const;
  void PlanStores();
  void PlanTiles();
  AttentionTile TileOf(const TilePiece& piece, int64_t layer, const float* qkv, float* out) const;
  void Store(const StorePiece& piece, int64_t layer, float* qkv) const;
  const PlanAngles& PlanOf(const BatchRow& row) const { return *plans[static_cast<size_t>(row.plan)]; }

  // How the query heads of a kv head are cut into tiles.
  int64_t GroupHeads() const { return shape.n_heads / shape.n_kv_heads; }
  int64_t TileHeads() const { return std::min(GroupHeads(), kTileRows); }
  int64_t TilesOfKvHead() const { return (GroupHeads() + TileHeads() - 1) / TileHeads(); }

  int64_t QkvWidth() const { return (shape.n_heads + 2 * shape.n_kv_heads) * shape.head_dim; }
  int64_t OutWidth() const { return shape.n_heads * shape.head_dim; }
  int64_t FarStride() const { return max_tokens * OutWidth(); }  // of far_queries, from a regime to the next
  Partials PartialsAt(int64_t first_partial) const {
    return {partial_out + first_partial * shape.padded_dim(), partial_stats + 2 * first_partial};
  }

  KvCache& cache;
  const int64_t max_tokens;
  WorkerPool& pool;
  const MakeAngles make_angles;
  const HeadShape shape;
  std::vector<AttentionScratch> scratch;  // of each thread
  std::vector<KnownPlan> known_plans;     // those of the step and kMaxIdlePlans others
  int64_t n_steps = 0;

  // Of the step at hand.
  const Batch* batch = nullptr;
  std::vector<const PlanAngles*> plans;  // of Batch::plans
  int max_regimes = 1;                   // of one of them
  int64_t angle_stride = 0;
  AlignedFloats angles;             // [n_tokens][angle_stride]: the turns of TurnsOf
  AlignedFloats query_scales;       // [n_tokens]
  std::vector<int64_t> first_keys;  // [n_tokens][kMaxRegimes], of rows with several regimes
  float* far_queries = nullptr;     // [max_regimes - 1][max_tokens, n_heads * head_dim], of regimes from 1 on
  NearKeyRings near_keys;
  std::vector<StorePiece> stores;
  std::vector<TilePiece> tiles;
  std::vector<TilePiece> dealt;   // scratch of PlanTiles
  std::vector<TilePiece> merges;  // tiles that are cut by ranges
  float* partial_out = nullptr;
  float* partial_stats = nullptr;
  GrowingArray<float> far_query_memory;  // taken for max_tokens when the first plan with several regimes comes
  GrowingArray<float> partial_out_memory, partial_stats_memory;  // grow with the length of rows: see kMaxSplitRows
};

Attention::Attention(KvCache& cache, int64_t max_tokens, WorkerPool& pool)
    : Attention(cache, max_tokens, pool, [](const RotaryPlan& plan, int64_t max_positions) {
        return std::make_unique<const PlanAngles>(plan, max_positions);
      }) {}

Attention::Attention(KvCache& cache, int64_t max_tokens, WorkerPool& pool, MakeAngles make_angles)
    : impl_(std::make_unique<Impl>(cache, max_tokens, pool, std::move(make_angles))) {}

Attention::~Attention() = default;

void Attention::BeginStep(const Batch& batch) {
  impl_->batch = &batch;
  impl_->FindPlans();
  impl_->FindAngles();
  impl_->near_keys.BeginStep(batch, impl_->plans);
  impl_->PlanStores();
  impl_->PlanTiles();
}

void Attention::Run(int64_t layer, float* qkv, float* out) {
  Impl& a = *impl_;
  const auto size = [](const auto& pieces) { return static_cast<int64_t>(pieces.size()); };
  a.pool.ParallelFor(size(a.stores) + a.near_keys.n_restores(), [&](int64_t i, int) {
    if (i < size(a.stores)) return a.Store(a.stores[static_cast<size_t>(i)], layer, qkv);
    a.near_keys.Restore(i - size(a.stores), layer);
  });
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
  a.pool.ParallelFor(a.near_keys.n_keeps(), [&](int64_t i, int) { a.near_keys.Keep(i, layer); });
}

KnownPlan* Attention::Impl::Find(const RotaryPlan& plan) {
  const auto same = [&](const KnownPlan& known) { return known.fingerprint == plan.fingerprint; };
  const auto found = std::find_if(known_plans.begin(), known_plans.end(), same);
  return found != known_plans.end() ? &*found : nullptr;
}

const PlanAngles& Attention::Impl::AnglesOf(const RotaryPlan& plan) {
  if (const KnownPlan* known = Find(plan)) return *known->angles;
  known_plans.push_back({plan.fingerprint, make_angles(plan, cache.geometry().tokens()), n_steps});
  return *known_plans.back().angles;
}

// Those that were used the longest ago.
void Attention::Impl::ForgetIdlePlans() {
  const auto idle = [&](const KnownPlan& known) { return known.last_step < n_steps; };
  const auto older = [](const KnownPlan& a, const KnownPlan& b) { return a.last_step < b.last_step; };
  for (auto n = std::count_if(known_plans.begin(), known_plans.end(), idle); n > kMaxIdlePlans; --n) {
    known_plans.erase(std::min_element(known_plans.begin(), known_plans.end(), older));
  }
}

void Attention::Impl::FindPlans() {
  ++n_steps;
  for (const auto& plan : batch->plans) {
    if (KnownPlan* known = Find(*plan)) known->last_step = n_steps;
  }
  ForgetIdlePlans();
  plans.clear();
  max_regimes = 1;
  for (const auto& plan : batch->plans) {
    plans.push_back(&AnglesOf(*plan));
    max_regimes = std::max(max_regimes, plans.back()->n_regimes());
  }
}

void Attention::Impl::FindAngles() {
  int64_t max_pairs = 0;
  for (const PlanAngles* plan : plans) max_pairs = std::max(max_pairs, plan->pairs());
  angle_stride = 2 * max_pairs * (max_regimes == 1 ? 1 : max_regimes + 1);
  if (max_regimes > 1) far_queries = far_query_memory.AtLeast((max_regimes - 1) * FarStride());
  const double head_scale = std::sqrt(static_cast<double>(shape.head_dim));
  for (const BatchRow& row : batch->rows) {
    const PlanAngles& plan = PlanOf(row);
    for (int64_t t = 0; t < row.n_new; ++t) {
      const int64_t position = row.length + t, pairs = plan.pairs();
      float* at = &angles[(row.first_token + t) * angle_stride];
      query_scales[row.first_token + t] = static_cast<float>(plan.QueryScale(position) / head_scale);
      for (int regime = 0; regime < plan.n_regimes(); ++regime, at += 2 * pairs) {
        plan.Query(regime, position, at, at + pairs);
      }
      if (plan.n_regimes() == 1) continue;
      if (plan.turns_stored_keys()) plan.StoredKey(position, at, at + pairs);
      int64_t* const first = &first_keys[static_cast<size_t>((row.first_token + t) * kMaxRegimes)];
      for (int regime = 0; regime < plan.n_regimes(); ++regime) first[regime] = plan.FirstKey(regime, position);
    }
  }
}

TokenTurns Attention::Impl::TurnsOf(const PlanAngles& plan, int64_t token) const {
  const float* at = &angles[token * angle_stride];
  const int64_t pairs = plan.pairs();
  TokenTurns turns;
  turns.pairs = pairs;
  turns.query_scale = query_scales[token];
  turns.n_regimes = plan.n_regimes();
  for (int regime = 0; regime < turns.n_regimes; ++regime, at += 2 * pairs) turns.queries[regime] = {at, at + pairs};
  if (turns.n_regimes == 1) {
    turns.stored_key = turns.queries[0];
  } else if (plan.turns_stored_keys()) {
    turns.stored_key = {at, at + pairs};
  }
  return turns;
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
  const int64_t group_heads = GroupHeads(), tile_heads = TileHeads();
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
          tiles.push_back({static_cast<int64_t>(row), t, n_tokens, kv_head, kv_head * group_heads + h, n_heads, 0,
                           n_ranges, -1, tiles.size()});
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
    if (n_ranges <= piece_ranges || rows > kMaxSplitRows) continue;
    piece.first_partial = partials;
    partials += n_ranges * rows;
    merges.push_back(piece);
    piece.n_ranges = piece_ranges;
    tiles[i] = piece;
    for (int64_t first = piece_ranges; first < n_ranges; first += piece_ranges) {
      piece.first_range = first;
      piece.n_ranges = std::min(piece_ranges, n_ranges - first);
      piece.order = tiles.size();
      tiles.push_back(piece);
    }
  }
  partial_out = partial_out_memory.AtLeast(partials * shape.padded_dim());
  partial_stats = partial_stats_memory.AtLeast(partials * 2);
  // The longest first, and dealt out so that each thread's share is long ones before short ones: none is left with a
  // long one when the others are done. The order changes no bit.
  std::sort(tiles.begin(), tiles.end(), [](const TilePiece& a, const TilePiece& b) {
    return a.work() > b.work() || (a.work() == b.work() && a.order < b.order);
  });
  const size_t shares = static_cast<size_t>(pool.threads());
  dealt.clear();
  for (size_t share = 0; share < shares; ++share) {
    for (size_t i = share; i < tiles.size(); i += shares) dealt.push_back(tiles[i]);
  }
  tiles.swap(dealt);
}

AttentionTile Attention::Impl::TileOf(const TilePiece& piece, int64_t layer, const float* qkv, float* out) const {
  const BatchRow& row = batch->rows[static_cast<size_t>(piece.row)];
  const int64_t token = row.first_token + piece.first_token;
  AttentionTile tile;
  tile.shape = shape;
  tile.pages = cache.Page(layer, 0);
  tile.block_stride = cache.block_bytes();
  tile.block_table = batch->Blocks(row).data();
  tile.kv_head = piece.kv_head;
  tile.n_tokens = piece.n_tokens;
  tile.n_heads = piece.n_heads;
  tile.first_position = row.length + piece.first_token;
  const PlanAngles& plan = PlanOf(row);
  const int64_t head = piece.first_head * shape.head_dim;
  tile.n_regimes = plan.n_regimes();
  tile.regimes[0] = {qkv + token * QkvWidth() + head, QkvWidth()};
  for (int regime = 1; regime < tile.n_regimes; ++regime) {
    tile.regimes[regime] = {far_queries + (regime - 1) * FarStride() + token * OutWidth() + head, OutWidth()};
  }
  if (tile.n_regimes > 1) {
    const int64_t* const first = &first_keys[static_cast<size_t>(token * kMaxRegimes)];
    for (int regime = 0; regime < tile.n_regimes; ++regime) tile.regimes[regime].first_keys = first + regime;
  }
  tile.has_near_keys = plan.has_near_keys();
  if (tile.has_near_keys) tile.near_keys = near_keys.Of(piece.row, layer);
  tile.out = out + token * OutWidth() + piece.first_head * shape.head_dim;
  tile.out_stride = OutWidth();
  return tile;
}

void Attention::Impl::Store(const StorePiece& piece, int64_t layer, float* qkv) const {
  const BatchRow& row = batch->rows[static_cast<size_t>(piece.row)];
  const PlanAngles& plan = PlanOf(row);
  const int64_t position = row.length + piece.first_token, block = position / kBlockTokens;
  std::byte* const page = cache.Page(layer, batch->Blocks(row)[static_cast<size_t>(block)]);
  for (int64_t t = 0; t < piece.n_tokens; ++t) {
    const int64_t token = row.first_token + piece.first_token + t;
    float* const far = plan.n_regimes() > 1 ? far_queries + token * OutWidth() : nullptr;
    RotateAndStore(shape, TurnsOf(plan, token), qkv + token * QkvWidth(), far, FarStride(), page,
                   (position + t) % kBlockTokens);
  }
  if (plan.has_near_keys()) near_keys.Make(piece.row, block, layer);
}

}  // namespace longhaul::cpu
