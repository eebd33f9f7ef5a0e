#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/backend/batch.h"
#include "engine/backend/cpu/attention_tile.h"
#include "engine/backend/cpu/growing_floats.h"
#include "engine/backend/cpu/kv_cache.h"
#include "engine/position/plan_angles.h"

namespace longhaul::cpu {

// The near keys of rows with a far regime during one step. The ring of a row holds those of its last `window` tokens;
// the new tokens' go there too where that overwrites none which the step still reads (always in decode), else to
// scratch, and from there to the ring when the layer is done. A near key is a function of the stored key, so whether it
// is read from ring or scratch, kept or made anew, changes no bit. One thread plans; pieces of work may run on any.
class NearKeyRings {
 public:
  // `cache` is not owned and outlives it.
  explicit NearKeyRings(KvCache& cache) : cache_(cache), shape_(cache.head_shape()) {}

  // plans [Batch::plans]. REQUIRES: the batch fits the cache and outlives the step.
  void BeginStep(const Batch& batch, std::span<const PlanAngles* const> plans);

  // Where a row's near keys lie in a layer; only for rows with a far regime.
  NearKeys Of(int64_t row, int64_t layer) const;

  // Work before the new tokens are stored: near keys of earlier tokens, made of the stored ones where they are missing.
  int64_t n_restores() const { return static_cast<int64_t>(restores_.size()); }
  void Restore(int64_t piece, int64_t layer) const;

  // Work after the layer's attention: what scratch holds of the last `window` tokens goes to the ring.
  int64_t n_keeps() const { return static_cast<int64_t>(keeps_.size()); }
  void Keep(int64_t piece, int64_t layer) const;

 private:
  struct RowNear {
    int64_t first_scratch_block = 0;
    int64_t scratch = -1;  // floats from the beginning of scratch; -1: the ring has room for all
  };
  // Earlier tokens of one block.
  struct RestorePiece {
    int64_t row, first_position, n_tokens;
    const PlanAngles* plan;
    int64_t angles;  // floats from the beginning of angle memory
  };
  struct KeepPiece {
    int64_t row, block;
  };

  int64_t half_bytes() const { return cache_.page_bytes() / 2; }
  void PlanRow(int64_t row, const PlanAngles& plan);
  void FillAngles();

  KvCache& cache_;
  const HeadShape shape_;
  const Batch* batch_ = nullptr;
  std::vector<RowNear> rows_;
  std::vector<RestorePiece> restores_;
  std::vector<KeepPiece> keeps_;
  int64_t scratch_floats_ = 0, angle_floats_ = 0;
  float* scratch_ = nullptr;
  float* angles_ = nullptr;  // of each restored token: cosines, sines [pairs]
  GrowingFloats scratch_memory_, angle_memory_;
};

}  // namespace longhaul::cpu
