#pragma once

#include <cstdint>
#include <optional>

namespace longhaul {

// Recent speed of the engine, from its steps. Time is passed in. One thread at a time.
class StepRates {
 public:
  // Adds a step of so many tokens. REQUIRES: seconds > 0.
  void AddStep(int64_t prefill_tokens, int64_t decode_tokens, double seconds);

  // Prefill and decode tokens per second of work, averaged over about the last ten seconds of it. None before the first
  // step.
  std::optional<double> tokens_per_second() const;

  // A lower bound of the seconds that the prefill of so many tokens takes: at the speed of the fastest step, in the
  // last minutes of work, with a prefill of at least 32 tokens. None before 1,024 tokens were computed in such steps,
  // because the first ones are slow. Not a forecast: steps deep in a long text and steps shared with many streams are
  // slower.
  std::optional<double> SecondsToRead(int64_t tokens) const;

 private:
  double tokens_ = 0, seconds_ = 0;  // both decayed alike
  double fastest_prefill_ = 0;       // tokens per second, decayed
  int64_t prefill_tokens_ = 0;       // in steps of at least 32, ever
};

// Seconds after which a refused client should try again: when the waiting row-tokens will have been computed, 0.1 to
// 60; 1 where the rate is not known.
double RetryAfter(int64_t waiting_tokens, std::optional<double> tokens_per_second);

}  // namespace longhaul
