#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/backend/batch.h"
#include "engine/backend/cpu/attention/attention_tile.h"
#include "engine/backend/cpu/attention/kv_cache.h"
#include "engine/backend/cpu/growing_array.h"
#include "engine/position/plan_angles.h"

namespace longhaul::cpu {

// The near keys, during one step, of rows whose plans have them. The ring of a row holds those of the tokens that the
// next one sees in regime 0; the new tokens' go there too where that overwrites none which the step still reads (always
// in decode), else to scratch, and from there to the ring when the layer is done. Near keys are a function of the
// stored keys of their block, so whether they are read from ring or scratch, kept or made anew, changes no bit. One
// thread plans; pieces of work may run on any.
class NearKeyRings {
 public:
  // `cache` is not owned and outlives it. max_rows: of a step.
  NearKeyRings(KvCache& cache, int64_t max_rows) : cache_(cache), shape_(cache.head_shape()) {
    rows_.reserve(static_cast<size_t>(max_rows));
  }

  // Throws std::bad_alloc where there is no memory. It takes as much as the blocks need whose near keys the step makes:
  // those of its new tokens (scratch of one layer, and angles), and where a ring is lost those that are near the new
  // tokens (angles). In decode that is one block a row.
  // plans [Batch::plans]. REQUIRES: the batch fits the cache and outlives the step.
  void BeginStep(const Batch& batch, std::span<const PlanAngles* const> plans);

  // Where a row's near keys lie in a layer; only for rows that have near keys.
  NearKeys Of(int64_t row, int64_t layer) const;

  // Makes the near keys of a block of a row whose stored keys are there; only for blocks that the step writes to, and
  // by Restore.
  void Make(int64_t row, int64_t block, int64_t layer) const;

  // Work that may be done at any time before the layer's tiles: the blocks before the new tokens that the ring lacks.
  int64_t n_restores() const { return static_cast<int64_t>(restores_.size()); }
  void Restore(int64_t piece, int64_t layer) const;

  // Work after the layer's tiles: what scratch holds of the ring's tokens goes to the ring.
  int64_t n_keeps() const { return static_cast<int64_t>(keeps_.size()); }
  void Keep(int64_t piece, int64_t layer) const;

 private:
  struct RowNear {
    int64_t first_scratch_block = 0;
    int64_t scratch = -1;     // floats from the beginning of scratch; -1: the ring has room for all
    int64_t first_block = 0;  // of those that are made
    int64_t angles = 0;       // of first_block: floats from the beginning of angle memory
    const PlanAngles* plan = nullptr;
  };
  struct Piece {
    int64_t row, block;
  };

  int64_t half_bytes() const { return cache_.page_bytes() / 2; }
  static int64_t AngleFloats(const PlanAngles& plan) { return 2 * plan.pairs() * kBlockTokens; }
  void PlanRow(int64_t row, const PlanAngles& plan);
  void FillAngles(const BatchRow& row, const RowNear& near);

  KvCache& cache_;
  const HeadShape shape_;
  const Batch* batch_ = nullptr;
  std::vector<RowNear> rows_;
  std::vector<Piece> restores_, keeps_;
  int64_t scratch_floats_ = 0, angle_floats_ = 0;
  float* scratch_ = nullptr;
  float* angles_ = nullptr;  // of each block: cosines, then sines, [pairs, kBlockTokens]
  std::vector<float> token_angles_;
  GrowingArray<float> scratch_memory_, angle_memory_;
};

}  // namespace longhaul::cpu
