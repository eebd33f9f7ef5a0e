#include "engine/telemetry/step_rates.h"

#include <algorithm>
#include <cmath>

namespace longhaul {
namespace {

constexpr double kMemory = 10, kPrefillMemory = 120;  // seconds of work
constexpr int64_t kSizeable = 32;                     // a shorter piece takes hardly less time, so its rate says little
constexpr int64_t kEvidence = 1024;

}  // namespace

void StepRates::AddStep(int64_t prefill_tokens, int64_t decode_tokens, double seconds) {
  const double keep = std::exp(-seconds / kMemory);
  tokens_ = tokens_ * keep + static_cast<double>(prefill_tokens + decode_tokens);
  seconds_ = seconds_ * keep + seconds;
  fastest_prefill_ *= std::exp(-seconds / kPrefillMemory);
  if (prefill_tokens >= kSizeable) {
    prefill_tokens_ += prefill_tokens;
    fastest_prefill_ = std::max(fastest_prefill_, static_cast<double>(prefill_tokens) / seconds);
  }
}

std::optional<double> StepRates::tokens_per_second() const {
  if (seconds_ <= 0) return std::nullopt;
  return tokens_ / seconds_;
}

std::optional<double> StepRates::SecondsToRead(int64_t tokens) const {
  if (prefill_tokens_ < kEvidence) return std::nullopt;
  return static_cast<double>(tokens) / fastest_prefill_;
}

double RetryAfter(int64_t waiting_tokens, std::optional<double> tokens_per_second) {
  constexpr double kShortest = 0.1, kLongest = 60, kUnknown = 1;
  if (!tokens_per_second.has_value() || *tokens_per_second <= 0) return kUnknown;
  return std::clamp(static_cast<double>(waiting_tokens) / *tokens_per_second, kShortest, kLongest);
}

}  // namespace longhaul
