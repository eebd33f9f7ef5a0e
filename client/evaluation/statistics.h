#pragma once

#include <cstdint>
#include <map>
#include <optional>

#include "client/evaluation/repetition.h"

namespace longhaul {

using Values = std::map<Repetition, double>;

// A mean over samples.
struct Estimate {
  int64_t n = 0;
  double mean = 0;
  std::optional<double> standard_error;  // sqrt(sum (x - mean)^2 / (n - 1) / n); none below two samples
};

Estimate MeanOf(const Values& values);

// The mean of a - b over the samples that both have. Paired: what a sample adds to both (a hard passage) falls out of
// the standard error too.
Estimate PairedDifference(const Values& a, const Values& b);

}  // namespace longhaul
