#include "engine/decoding/log_softmax.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/decoding/logit_kernels.h"

namespace longhaul {

float LogSumExp(std::span<const float> logits) {
  constexpr double kNone = -std::numeric_limits<double>::infinity();
  double max = kNone, sum = 0;
  for (size_t begin = 0; begin < logits.size(); begin += kLogitRange) {
    const auto range = logits.subspan(begin, std::min(kLogitRange, logits.size() - begin));
    const float range_max = MaxLogit(range);
    if (static_cast<double>(range_max) == kNone) continue;
    if (!std::isfinite(range_max)) return range_max;
    const double range_sum = SumExp(range, range_max, 1);
    const double new_max = std::max(max, static_cast<double>(range_max));
    sum = sum * std::exp(max - new_max) + range_sum * std::exp(static_cast<double>(range_max) - new_max);
    max = new_max;
  }
  return static_cast<float>(max + std::log(sum));
}

}  // namespace longhaul
