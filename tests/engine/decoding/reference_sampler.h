#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/decoding/sampler.h"

namespace longhaul {

// A SamplerInput that owns what it refers to.
struct SamplerQuestion {
  SamplingParams params{};
  TokenCounts prompt_counts{}, answer_counts{};
  std::vector<TokenId> forbidden{};
  uint64_t sample = 0, index = 0;
  TokenId forced = -1;
  int top_logprobs = -1;
};

// SampleToken. `uncounted`: not negative: a token of the answer that is told beside the counts instead of in them.
SamplerResult Sample(std::span<const float> logits, const SamplerQuestion& question, TokenId uncounted = -1);

// What a draw can be, in double precision and with full sorts: the plain twin of SampleToken.
struct ReferenceDistribution {
  struct Entry {
    TokenId id;
    double probability;
  };
  std::vector<Entry>
      kept;  // most probable first, equal ones by id; the probabilities sum to 1; empty: no token is left
  // How far the nearest decision of a cut was from going the other way, relative to its threshold.
  double margin = 1;
};

ReferenceDistribution ReferenceSample(std::span<const float> logits, const SamplerQuestion& input);

}  // namespace longhaul
