#include "engine/decoding/nbce_row.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "engine/decoding/log_softmax.h"
#include "engine/decoding/nbce_kernels.h"

namespace longhaul {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Cut {
  float logit = -kInfinity;
  TokenId first_id = 0;
  int64_t n_equal = 0;  // kept tokens with this very logit
};

// Narrows the candidates around the cut until they are few or all equal; returns the mass above them. Each round cuts
// the interval of their logits into eight.
double NarrowAroundCut(NbceCandidates& candidates, double top_p) {
  constexpr size_t kFew = 64;
  double above = 0;
  while (candidates.size > kFew && candidates.least < candidates.largest) {
    const float least = candidates.least, width = candidates.largest - least;
    const float next = std::nextafter(least, kInfinity);
    std::array<float, kThresholds> thresholds;
    for (size_t i = 0; i + 1 < kThresholds; ++i) {
      thresholds[i] = std::max(least + width * static_cast<float>(i + 1) / static_cast<float>(kThresholds), next);
    }
    thresholds.back() = candidates.largest;
    const std::array<double, kThresholds> masses = MassesFrom(candidates, thresholds);
    // Thresholds that enough mass reaches come first. A round leaves out the least or the largest logit at least.
    size_t reached = 0;
    while (reached < kThresholds && above + masses[reached] >= top_p) ++reached;
    if (reached < kThresholds) above += masses[reached];
    NarrowCandidates(candidates, reached == 0 ? least : thresholds[reached - 1],
                     reached == kThresholds ? kInfinity : thresholds[reached]);
  }
  return above;
}

// REQUIRES: 0 < top_p < 1, `log_sum_exp` is finite. No candidate at all (n_equal 0) only where logits are so large
// that float cannot tell their differences.
Cut FindCut(std::span<const float> logits, float log_sum_exp, double top_p) {
  // All tokens that are less probable than this weigh less than 1 - top_p together; a hundredth for rounding.
  const double bound = std::log((1 - top_p) / static_cast<double>(logits.size())) - 0.01;
  thread_local NbceCandidates candidates;
  GatherCandidates(logits, log_sum_exp, static_cast<float>(static_cast<double>(log_sum_exp) + bound), candidates);
  double mass = NarrowAroundCut(candidates, top_p);

  struct Entry {
    float logit, probability;
    TokenId id;
  };
  thread_local std::vector<Entry> entries;
  entries.clear();
  entries.reserve(logits.size());  // at once, so that no later step takes more
  for (size_t i = candidates.size; i-- > 0;) {
    entries.push_back({candidates.logits[i], candidates.probabilities[i], candidates.ids[i]});
  }
  if (candidates.least < candidates.largest) {
    std::sort(entries.begin(), entries.end(),
              [](const Entry& a, const Entry& b) { return a.logit > b.logit || (a.logit == b.logit && a.id > b.id); });
  }
  Cut cut;
  for (const Entry& entry : entries) {
    cut.n_equal = entry.logit == cut.logit ? cut.n_equal + 1 : 1;
    cut.logit = entry.logit;
    cut.first_id = entry.id;
    mass += static_cast<double>(entry.probability);
    if (mass >= top_p) break;
  }
  return cut;
}

}  // namespace

NbceRow ReadNbceRow(std::span<const float> logits, float top_p) {
  NbceRow row;
  row.log_sum_exp = LogSumExp(logits);
  if (!std::isfinite(row.log_sum_exp)) return row;
  Cut cut;
  if (top_p < 1) {
    cut = FindCut(logits, row.log_sum_exp, static_cast<double>(top_p));
    if (cut.n_equal == 0) return row;
  }
  row.cut = cut.logit;
  row.first_at_cut = cut.first_id;
  double entropy = EntropyAbove(logits, row.log_sum_exp, row.cut);
  if (cut.n_equal > 0) {
    const double l = std::min(static_cast<double>(LogProbability(row.cut, row.log_sum_exp)), 0.0);
    entropy -= static_cast<double>(cut.n_equal) * std::exp(l) * l;
  }
  row.entropy = static_cast<float>(entropy);
  row.usable = true;
  return row;
}

}  // namespace longhaul
