#include "client/evaluation/statistics.h"

#include <cmath>

namespace longhaul {

Estimate MeanOf(const Values& values) {
  Estimate estimate;
  estimate.n = static_cast<int64_t>(values.size());
  if (estimate.n == 0) return estimate;
  const auto n = static_cast<double>(estimate.n);
  double sum = 0;
  for (const auto& [sample, value] : values) sum += value;
  estimate.mean = sum / n;
  if (estimate.n < 2) return estimate;
  double squares = 0;
  for (const auto& [sample, value] : values) squares += (value - estimate.mean) * (value - estimate.mean);
  estimate.standard_error = std::sqrt(squares / (n - 1) / n);
  return estimate;
}

Estimate PairedDifference(const Values& a, const Values& b) {
  Values differences;
  for (const auto& [sample, value] : a) {
    if (const auto other = b.find(sample); other != b.end()) differences[sample] = value - other->second;
  }
  return MeanOf(differences);
}

}  // namespace longhaul
