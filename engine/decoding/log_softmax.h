#pragma once

#include <span>

namespace longhaul {

// ln(sum_i exp(logits[i])), over ranges of fixed size merged in order: the one normaliser of sampling,
// log-probabilities and Score, so that they agree to the bit. -infinity for an empty row or one of -infinity alone; NaN
// if a logit is NaN.
float LogSumExp(std::span<const float> logits);

}  // namespace longhaul
