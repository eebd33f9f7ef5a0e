#include "engine/position/plan_angles.h"

#include <algorithm>
#include <cmath>

namespace longhaul {
namespace {

std::vector<double> Scaled(std::vector<double> inv_freq, double by) {
  for (double& frequency : inv_freq) frequency *= by;
  return inv_freq;
}

}  // namespace

PlanAngles::PlanAngles(const RotaryPlan& plan, int64_t max_positions)
    : far_(plan.far), log_n_(plan.log_n), query_scale_(plan.query_scale), near_(plan.inv_freq, max_positions) {
  if (!far_.has_value()) return;
  if (far_->divisor > 0 && !far_->floor) {
    const double share = 1 / static_cast<double>(far_->divisor);
    far_key_.emplace(Scaled(plan.inv_freq, share), max_positions);
    near_key_.emplace(Scaled(plan.inv_freq, 1 - share), max_positions);
  }
  for (double frequency : plan.inv_freq) offset_.push_back(std::cos(far_->query_offset * frequency));
  for (double frequency : plan.inv_freq) offset_.push_back(std::sin(far_->query_offset * frequency));
}

int64_t PlanAngles::FirstKey(int regime, int64_t position) const {
  if (!far_.has_value() || regime > 0) return 0;
  return std::max<int64_t>(0, position - far_->window + 1);
}

void PlanAngles::Query(int regime, int64_t position, float* cosines, float* sines) const {
  if (regime > 0) return FarQuery(position, cosines, sines);
  near_.Angles(position, cosines, sines);
}

void PlanAngles::StoredKey(int64_t position, float* cosines, float* sines) const {
  if (!far_.has_value()) {
    near_.Angles(position, cosines, sines);
  } else if (far_->floor) {
    near_.Angles(position / far_->divisor, cosines, sines);
  } else {
    far_key_->Angles(position, cosines, sines);
  }
}

void PlanAngles::NearKey(int64_t position, float* cosines, float* sines) const {
  if (far_->divisor == 0) {
    near_.Angles(position, cosines, sines);
  } else if (far_->floor) {
    near_.Angles(position - position / far_->divisor, cosines, sines);
  } else {
    near_key_->Angles(position, cosines, sines);
  }
}

void PlanAngles::FarQuery(int64_t position, float* cosines, float* sines) const {
  const bool turns = turns_stored_keys();
  if (turns) StoredKey(position, cosines, sines);  // position / divisor, as a key's
  for (int64_t i = 0; i < pairs(); ++i) {
    const double cosine = turns ? static_cast<double>(cosines[i]) : 1, sine = turns ? static_cast<double>(sines[i]) : 0;
    const double offset_cosine = offset_[static_cast<size_t>(i)],
                 offset_sine = offset_[static_cast<size_t>(pairs() + i)];
    cosines[i] = static_cast<float>(cosine * offset_cosine - sine * offset_sine);
    sines[i] = static_cast<float>(sine * offset_cosine + cosine * offset_sine);
  }
}

float PlanAngles::QueryScale(int64_t position) const {
  double scale = query_scale_;
  if (log_n_.has_value()) {
    scale *= std::max(1.0, std::log(static_cast<double>(position) + 1) / std::log(log_n_->trained_length));
  }
  return static_cast<float>(scale);
}

}  // namespace longhaul
