#pragma once

#include <cstdint>
#include <optional>

namespace longhaul {

// How fast the engine has been of late, told from its steps. Time is passed in. One thread at a time.
class StepRates {
 public:
  // A step of so many tokens took so long. REQUIRES: seconds > 0.
  void AddStep(int64_t prefill_tokens, int64_t decode_tokens, double seconds);

  // Tokens of both kinds per second of work, a mean over about the last ten seconds of it. None before the first step.
  std::optional<double> tokens_per_second() const;

  // What reading so many tokens takes at least: at the speed of the fastest step, in the last minutes of work, that
  // read a sizeable piece of a prompt. None before 1,024 tokens were read in such steps: the first ones are slow. Steps
  // deep in a long text and steps shared with many streams are slow too, so this is no forecast but a bound.
  std::optional<double> SecondsToRead(int64_t tokens) const;

 private:
  double tokens_ = 0, seconds_ = 0;  // both decayed alike
  double fastest_prefill_ = 0;       // tokens per second, decayed
  int64_t prefill_tokens_ = 0;       // of sizeable pieces, ever
};

// When a client that was refused should try again: when the row-tokens that wait have been read, 0.1 to 60 seconds from
// now; 1 where the rate is not known.
double RetryAfter(int64_t waiting_tokens, std::optional<double> tokens_per_second);

}  // namespace longhaul
