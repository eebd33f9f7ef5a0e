#include "engine/position/frequency_scaling.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace longhaul {

double NtkDivisor(int64_t pair, int64_t dims, double factor) {
  if (pair == 0) return 1;  // also where d = 2 leaves no other
  return std::pow(factor, 2 * static_cast<double>(pair) / static_cast<double>(dims - 2));
}

double NtkRadixDivisor(int64_t pair, int64_t dims, double factor) {
  return std::pow(factor, 2 * static_cast<double>(pair) / static_cast<double>(dims));
}

double NtkFixedDivisor(int64_t pair, int64_t dims, double factor) {
  return std::pow(factor, 2 * static_cast<double>(pair + 1) / static_cast<double>(dims));
}

double BetaMixedDivisor(int64_t pair, int64_t dims, double factor, double b) {
  const double digit = 2 * static_cast<double>(pair + 1) / static_cast<double>(dims);
  return std::pow(factor, std::pow(digit, b));
}

double RampDivisor(double kept_share, double factor) {
  return factor / (1 + kept_share * (factor - 1));  // written so that it is 1 at factor 1
}

double IndexRampShare(int64_t pair, int64_t dims, double base, int64_t length, double alpha, double beta) {
  const auto pair_of_turns = [&](double turns) {
    return static_cast<double>(dims) * std::log(static_cast<double>(length) / (turns * 2 * std::numbers::pi)) /
           (2 * std::log(base));
  };
  const double low = std::max(std::floor(pair_of_turns(beta)), 0.0);
  const double high = std::min(std::ceil(pair_of_turns(alpha)), static_cast<double>(dims - 1));  // not d / 2 - 1
  // The lower bound as in llama.cpp: where all pairs lie on one side, the authors' code would turn the ramp around.
  return 1 - std::clamp((static_cast<double>(pair) - low) / std::max(high - low, 0.001), 0.0, 1.0);
}

double TurnsRampShare(double theta, int64_t length, double low, double high) {
  const double turns = static_cast<double>(length) * theta / (2 * std::numbers::pi);
  return std::clamp((turns - low) / (high - low), 0.0, 1.0);
}

double YarnTemperature(double factor) {
  return 0.1 * std::log(factor) + 1;
}

}  // namespace longhaul
