#include "tests/engine/decoding/reference_nbce.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace longhaul {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

bool IsUsable(const std::vector<float>& row) {
  bool token = false;
  for (float x : row) {
    if (std::isnan(x) || x == std::numeric_limits<float>::infinity()) return false;
    token = token || std::isfinite(x);
  }
  return token;
}

std::vector<double> LogSoftmax(const std::vector<float>& row) {
  const double max = static_cast<double>(*std::max_element(row.begin(), row.end()));
  double sum = 0;
  for (float x : row) sum += std::exp(static_cast<double>(x) - max);
  std::vector<double> l;
  for (float x : row) l.push_back(static_cast<double>(x) - max - std::log(sum));
  return l;
}

// Which tokens top-p drops. `order`: their logits, which decide who is the more probable.
std::vector<bool> Drop(const std::vector<double>& l, const std::vector<float>& order, double top_p, double& margin) {
  std::vector<bool> dropped(l.size(), false);
  if (top_p >= 1) return dropped;
  std::vector<size_t> ids(l.size());
  std::iota(ids.begin(), ids.end(), size_t{0});
  std::stable_sort(ids.begin(), ids.end(), [&](size_t a, size_t b) { return order[a] < order[b]; });
  std::reverse(ids.begin(), ids.end());
  double before = 0;
  for (size_t rank = 0; rank < ids.size(); ++rank) {
    if (rank > 0) {
      margin = std::min(margin, std::abs(before - top_p));
      dropped[ids[rank]] = before >= top_p;
    }
    before += std::exp(l[ids[rank]]);
  }
  return dropped;
}

}  // namespace

ReferenceNbce CombineInDouble(const std::vector<std::vector<float>>& rows, const NbceParams& params, int previous) {
  const size_t n = rows.size(), vocabulary = rows[0].size();
  ReferenceNbce result;
  std::vector<std::vector<double>> truncated(n);
  for (size_t i = 0; i < n; ++i) {
    result.entropies.push_back(std::numeric_limits<double>::quiet_NaN());
    result.dropped.emplace_back();
    if (!IsUsable(rows[i])) continue;
    std::vector<double>& l = truncated[i];
    l = LogSoftmax(rows[i]);
    result.dropped[i] = Drop(l, rows[i], static_cast<double>(params.top_p), result.cut_margin);
    result.entropies[i] = 0;
    for (size_t id = 0; id < vocabulary; ++id) {
      if (result.dropped[i][id]) {
        l[id] = -kInfinity;
      } else {
        result.entropies[i] -= std::exp(l[id]) * std::clamp(l[id], -100.0, 0.0);
      }
    }
  }

  std::vector<double> competing;
  double least = 0;
  for (size_t i = 1; i < n; ++i) {
    if (truncated[i].empty()) continue;
    const bool was_chosen = static_cast<int>(i) == previous;
    const double entropy = result.entropies[i] - (was_chosen ? static_cast<double>(params.eta) : 0);
    if (result.chosen < 0 || entropy < least) {
      result.chosen = static_cast<int>(i);
      least = entropy;
    }
    competing.push_back(entropy);
  }
  for (double entropy : competing) {
    result.n_least += entropy == least ? 1 : 0;
    if (entropy > least) result.choice_margin = std::min(result.choice_margin, entropy - least);
  }

  const auto merge = [&](NbcePooling pooling) {
    result.logits.assign(vocabulary, -kInfinity);
    bool any = false;
    for (size_t id = 0; id < vocabulary && result.chosen >= 0; ++id) {
      double l = 0;
      if (pooling == NbcePooling::kMinEntropy) {
        l = truncated[static_cast<size_t>(result.chosen)][id];
      } else if (pooling == NbcePooling::kMean) {
        for (size_t i = 1; i < n; ++i) l += truncated[i].empty() ? 0 : truncated[i][id];
        l /= static_cast<double>(competing.size());
      } else {
        l = -kInfinity;
        for (size_t i = 1; i < n; ++i) l = truncated[i].empty() ? l : std::max(l, truncated[i][id]);
      }
      if (l == -kInfinity) continue;
      any = true;
      const double l0 = truncated[0].empty() ? -kInfinity : truncated[0][id];
      const double beta = static_cast<double>(params.beta);
      result.logits[id] = l0 > -100 ? (1 + beta) * l - beta * l0 : l;
    }
    return any;
  };
  if (!merge(params.pooling) && params.pooling == NbcePooling::kMean && result.chosen >= 0) {
    result.fell_back = true;
    merge(NbcePooling::kMinEntropy);
  }
  return result;
}

}  // namespace longhaul
