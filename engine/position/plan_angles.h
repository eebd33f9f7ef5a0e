#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/position/rotary_plan.h"
#include "engine/position/rotary_table.h"

namespace longhaul {

// Ranges of keys that a plan tells apart, at most.
inline constexpr int kMaxRegimes = 3;

// The rotations of a plan: cosines and sines in f32 of every pair for a position, and the query's scale. A pure
// function of plan and position. Immutable after construction: any thread may read.
//
// What a query sees of the keys 0..position is cut into 1 to kMaxRegimes ranges, the regimes, nearest first. It meets
// each of them in a rotation of its own. Every key is stored in one rotation; where has_near_keys(), those of regime 0
// are the stored ones turned further.
//
// This class knows what a RotaryPlan says: a plan without a far regime has one regime; with one, regime 0 are the keys
// nearer than `window`, regime 1 all others. Other ways to cut are derived from it.
class PlanAngles {
 public:
  // REQUIRES: max_positions > 0; the plan's fields keep their contracts.
  PlanAngles(const RotaryPlan& plan, int64_t max_positions);
  virtual ~PlanAngles() = default;

  int64_t pairs() const { return near_.pairs(); }

  virtual int n_regimes() const { return far_.has_value() ? 2 : 1; }
  // Where the keys of a regime begin that a query at `position` sees; they end where those of regime - 1 begin, those
  // of regime 0 at `position` itself, which is one of them. 0 for the last regime. Does not fall from a position to the
  // next, nor rise from a regime to the next.
  virtual int64_t FirstKey(int regime, int64_t position) const;
  // Whether a stored key is turned at all. With one regime it is, and as the query at its position.
  virtual bool turns_stored_keys() const { return !far_.has_value() || far_->divisor > 0; }
  virtual bool has_near_keys() const { return far_.has_value(); }

  // Each writes [pairs()] cosines and sines. REQUIRES: 0 <= position < max_positions; regime < n_regimes(); for
  // StoredKey turns_stored_keys(), for NearKey has_near_keys().
  virtual void Query(int regime, int64_t position, float* cosines, float* sines) const;
  virtual void StoredKey(int64_t position, float* cosines, float* sines) const;
  virtual void NearKey(int64_t position, float* cosines, float* sines) const;

  // What multiplies a query at `position`: query_scale and log-n.
  float QueryScale(int64_t position) const;

 private:
  void FarQuery(int64_t position, float* cosines, float* sines) const;

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
