#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace longhaul {

// The amount of work of a step.
struct StepWork {
  int64_t tokens = 0;  // new ones
  int64_t rows = 0;
  double keys = 0;     // that the queries attend to, summed over the tokens
  double context = 0;  // tokens in the rows after the step: their keys and values are fetched once for a row

  // With another row of n new tokens behind `length`; each attends to all before it.
  StepWork With(int64_t n, int64_t length) const {
    const double depth = static_cast<double>(length) + static_cast<double>(n + 1) / 2;
    return {tokens + n, rows + 1, keys + static_cast<double>(n) * depth, context + static_cast<double>(length + n)};
  }
};

// Predicts how long a step takes, learned from the steps before: seconds = speed (a + b tokens + c rows + d keys + e
// context). a..e minimise the relative errors of the last hundreds of steps (weighted least squares), with an initial
// guess that counts as much as a tenth of a step, so that what has not varied yet is still determined. speed is how
// much longer the last ten steps took than that predicts: the machine is shared. One thread.
class StepCost {
 public:
  StepCost();

  void Observe(const StepWork& work, double seconds);
  // Seconds; never negative.
  double Predict(const StepWork& work) const;

  // The largest number of tokens, 1 to `most`, of another row that holds `length`, with which a step of `work` is
  // predicted to take at most `seconds`; 1 where none is.
  int64_t TokensWithin(double seconds, const StepWork& work, int64_t length, int64_t most) const;

 private:
  static constexpr size_t kTerms = 5;
  using Vector = std::array<double, kTerms>;
  // The seconds of each term by the initial guess.
  static Vector GuessedTerms(const StepWork& work);
  double Terms(const StepWork& work) const;
  void Solve();

  // The normal equations of a..e as multiples of the guess: X^T X and X^T y.
  std::array<Vector, kTerms> squares_{};
  Vector products_{};
  Vector multiples_;
  double speed_ = 1;
};

}  // namespace longhaul
