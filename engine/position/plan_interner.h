#pragma once

#include <cstddef>
#include <map>
#include <memory>

#include "engine/base/mutex.h"
#include "engine/position/rotary_plan.h"

namespace longhaul {

// One shared, immutable object for all plans of the same numbers, so that who has many rows knows equal plans by their
// address. Thread-safe.
class PlanInterner {
 public:
  // REQUIRES: the fingerprint is that of the numbers.
  std::shared_ptr<const RotaryPlan> Intern(const RotaryPlan& plan);

  // Plans that somebody holds, and at most as many again that nobody does any more.
  size_t size() const;

 private:
  mutable Mutex mutex_;
  std::map<Fingerprint, std::weak_ptr<const RotaryPlan>> plans_ ABSL_GUARDED_BY(mutex_);
  size_t swept_at_ ABSL_GUARDED_BY(mutex_) = 16;  // the size at which those that nobody holds are dropped
};

}  // namespace longhaul
