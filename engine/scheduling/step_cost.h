#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace longhaul {

// What a step consists of.
struct StepWork {
  int64_t tokens = 0;  // new ones
  int64_t rows = 0;
  double keys = 0;     // that their queries meet, summed over the tokens
  double context = 0;  // tokens that the rows hold in the end: keys and values that are fetched, once for a row

  // With n tokens more of one row that holds `length`: each reads what is before it.
  StepWork With(int64_t n, int64_t length) const {
    const double depth = static_cast<double>(length) + static_cast<double>(n + 1) / 2;
    return {tokens + n, rows + 1, keys + static_cast<double>(n) * depth, context + static_cast<double>(length + n)};
  }
};

// How long a step takes, learned from the steps that were run: seconds = speed (a + b tokens + c rows + d keys
// + e context). The terms are those of the least relative errors of the last hundreds of steps, where a guess counts as
// much as a tenth of a step, so that what has not varied yet is still determined; the speed is how much longer the last
// ten steps took than the terms say, because the machine is shared. One thread.
class StepCost {
 public:
  StepCost();

  void Observe(const StepWork& work, double seconds);
  // Never negative.
  double Predict(const StepWork& work) const;

  // The most tokens, 1 to `most`, of a row that holds `length`, with which a step that has `work` already is predicted
  // to take at most `seconds`.
  int64_t TokensWithin(double seconds, const StepWork& work, int64_t length, int64_t most) const;

 private:
  static constexpr size_t kTerms = 5;
  using Vector = std::array<double, kTerms>;
  // Each term's seconds as the guess has them.
  static Vector GuessedTerms(const StepWork& work);
  double Terms(const StepWork& work) const;
  void Solve();

  // Of the terms as multiples of the guess: products of the terms summed over the steps, and with the outcome.
  std::array<Vector, kTerms> squares_{};
  Vector products_{};
  Vector multiples_;
  double speed_ = 1;
};

}  // namespace longhaul
