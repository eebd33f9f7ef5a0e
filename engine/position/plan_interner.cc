#include "engine/position/plan_interner.h"

#include <algorithm>
#include <utility>

namespace longhaul {

std::shared_ptr<const RotaryPlan> PlanInterner::Intern(const RotaryPlan& plan) {
  MutexLock lock(mutex_);
  std::weak_ptr<const RotaryPlan>& known = plans_[plan.fingerprint];
  if (std::shared_ptr<const RotaryPlan> shared = known.lock()) {
    // Two plans of one fingerprint: unheard of, but then each is on its own.
    return *shared == plan ? shared : std::make_shared<const RotaryPlan>(plan);
  }
  std::shared_ptr<const RotaryPlan> made = std::make_shared<const RotaryPlan>(plan);
  known = made;
  if (plans_.size() >= swept_at_) {
    std::erase_if(plans_, [](const auto& entry) { return entry.second.expired(); });
    swept_at_ = std::max<size_t>(16, 2 * plans_.size());
  }
  return made;
}

size_t PlanInterner::size() const {
  MutexLock lock(mutex_);
  return plans_.size();
}

}  // namespace longhaul
