#pragma once

#include <span>
#include <vector>

#include "engine/decoding/sampler.h"

namespace longhaul {

// What a draw can be, in double precision and with full sorts: the plain twin of Sample.
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

ReferenceDistribution ReferenceSample(std::span<const float> logits, const SamplerInput& input);

}  // namespace longhaul
