#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/position/rotary_plan.h"
#include "engine/position/rotary_table.h"

namespace longhaul {

// The rotations of a plan: cosines and sines in f32 of every pair for a position, and the query's scale. A pure
// function of plan and position. Immutable after construction: any thread may read.
//
// A plain plan turns queries and keys by Near. With a far regime a key is stored turned by StoredKey (not at all where
// !turns_stored_keys()); FarQuery meets stored keys from distance `window` on; Near turns the query for the nearer
// ones, whose keys are the stored ones turned further by NearKey.
class PlanAngles {
 public:
  // REQUIRES: max_positions > 0; the plan's fields keep their contracts.
  PlanAngles(const RotaryPlan& plan, int64_t max_positions);

  int64_t pairs() const { return near_.pairs(); }
  // 0: no far regime.
  int64_t window() const { return far_.has_value() ? far_->window : 0; }
  bool turns_stored_keys() const { return !far_.has_value() || far_->divisor > 0; }

  // Each writes [pairs()] cosines and sines. REQUIRES: 0 <= position < max_positions; for all but Near a far regime;
  // for StoredKey turns_stored_keys().
  void Near(int64_t position, float* cosines, float* sines) const { near_.Angles(position, cosines, sines); }
  void StoredKey(int64_t position, float* cosines, float* sines) const;
  void NearKey(int64_t position, float* cosines, float* sines) const;
  void FarQuery(int64_t position, float* cosines, float* sines) const;

  // What multiplies a query at `position`: query_scale and log-n.
  float QueryScale(int64_t position) const;

 private:
  std::optional<FarRegime> far_;
  std::optional<LogN> log_n_;
  double query_scale_;
  RotaryTable near_;  // whole positions of inv_freq
  // A fractional position j / divisor is the whole j of these: inv_freq / divisor, and inv_freq * (1 - 1 / divisor).
  std::optional<RotaryTable> far_key_, near_key_;
  // [pairs] cosines, sines of query_offset, in double.
  std::vector<double> offset_;
};

}  // namespace longhaul
