#include "engine/scheduling/step_cost.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace longhaul {
namespace {

// The weight of a step halves in 350 further ones; for the speed in 7.
constexpr double kForgetting = 0.998;
constexpr double kSpeedForgetting = 0.9;
constexpr double kLargestRatio = 4;  // of a step that took longer, or shorter, than its terms say
constexpr double kWeightOfGuess = 0.1;

}  // namespace

StepCost::StepCost() {
  multiples_.fill(1);
}

StepCost::Vector StepCost::GuessedTerms(const StepWork& work) {
  // For a small model on a slow machine.
  return {2e-3, 1e-3 * static_cast<double>(work.tokens), 1e-4 * static_cast<double>(work.rows), 1e-7 * work.keys,
          5e-7 * work.context};
}

void StepCost::Observe(const StepWork& work, double seconds) {
  if (!(seconds > 0) || !std::isfinite(seconds)) return;
  if (const double expected = Terms(work); expected > 0) {
    const double ratio = std::clamp(seconds / expected, 1 / kLargestRatio, kLargestRatio);
    speed_ = kSpeedForgetting * speed_ + (1 - kSpeedForgetting) * ratio;
  }
  Vector terms = GuessedTerms(work);
  for (double& term : terms) term /= seconds;  // relative errors: the outcome is 1
  for (size_t i = 0; i < kTerms; ++i) {
    for (size_t j = 0; j < kTerms; ++j) squares_[i][j] = kForgetting * squares_[i][j] + terms[i] * terms[j];
    products_[i] = kForgetting * products_[i] + terms[i];
  }
  Solve();
}

// Least squares with nonnegative coefficients, by coordinate descent from the last solution.
void StepCost::Solve() {
  constexpr int kSweeps = 5;
  for (int sweep = 0; sweep < kSweeps; ++sweep) {
    for (size_t i = 0; i < kTerms; ++i) {
      double rest = products_[i] + kWeightOfGuess;
      for (size_t j = 0; j < kTerms; ++j) rest -= j == i ? 0 : squares_[i][j] * multiples_[j];
      multiples_[i] = std::max(0.0, rest / (squares_[i][i] + kWeightOfGuess));
    }
  }
}

double StepCost::Predict(const StepWork& work) const {
  return speed_ * Terms(work);
}

double StepCost::Terms(const StepWork& work) const {
  const Vector terms = GuessedTerms(work);
  double seconds = 0;
  for (size_t i = 0; i < kTerms; ++i) seconds += multiples_[i] * terms[i];
  return seconds;
}

int64_t StepCost::TokensWithin(double seconds, const StepWork& work, int64_t length, int64_t most) const {
  int64_t fits = 1, too_many = std::max<int64_t>(most, 1) + 1;
  while (too_many - fits > 1) {
    const int64_t n = (fits + too_many) / 2;
    (Predict(work.With(n, length)) <= seconds ? fits : too_many) = n;
  }
  return fits;
}

}  // namespace longhaul
