#pragma once

#include <span>
#include <vector>

#include "engine/decoding/nbce_combiner.h"

namespace longhaul {

// NBCE as kexue.fm 9617 and 9632 write it, step by step in double precision, with a full sort: the twin of CombineNbce.
struct ReferenceNbce {
  std::vector<double> logits;              // [vocabulary]
  std::vector<double> entropies;           // [n], NaN of a row that is not usable
  std::vector<std::vector<bool>> dropped;  // [n][vocabulary]; empty of a row that is not usable
  int chosen = -1;
  bool fell_back = false;
  double cut_margin = 1;     // how far a row's mass at its cut is from top_p, the nearest
  double choice_margin = 1;  // between the least entropy and the next that is not equal to it, after eta
  int n_least = 0;           // rows that have the least entropy; above 1 the lowest of them is chosen
};

ReferenceNbce CombineInDouble(const std::vector<std::vector<float>>& rows, const NbceParams& params, int previous);

}  // namespace longhaul
