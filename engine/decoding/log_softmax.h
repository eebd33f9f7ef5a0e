#pragma once

#include <cmath>
#include <limits>
#include <span>

namespace longhaul {

// ln(sum_i exp(logits[i])), over ranges of fixed size merged in order: the one normaliser of sampling,
// log-probabilities and Score, so that they agree to the bit. -infinity for an empty row or one of -infinity alone; NaN
// if a logit is NaN.
float LogSumExp(std::span<const float> logits);

// The log-probability of a token from its raw logit and the LogSumExp of its row; the only place that computes it. NaN
// if and only if the row is no distribution: some logit is NaN or +infinity, or all are -infinity.
inline float LogProbability(float logit, float log_sum_exp) {
  return std::isfinite(log_sum_exp) ? logit - log_sum_exp : std::numeric_limits<float>::quiet_NaN();
}

}  // namespace longhaul
