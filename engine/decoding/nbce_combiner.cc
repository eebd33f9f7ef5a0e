#include "engine/decoding/nbce_combiner.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/decoding/logit_kernels.h"
#include "engine/decoding/nbce_kernels.h"

namespace longhaul {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
// The author's bound on row 0: what is less probable counts as dropped. Only without truncation is anything so
// improbable kept.
constexpr float kBaselineFloor = -100;

// Calls visit(begin, end, least) so that of the tokens begin..end-1 exactly those with logits from `least` on are kept:
// before the first id that is kept at the cut and from there on.
template <typename Visit>
void ForBothSidesOfCut(const NbceRow& row, size_t begin, size_t end, Visit visit) {
  const size_t first = std::clamp(static_cast<size_t>(row.first_at_cut), begin, end);
  if (begin < first) visit(begin, first, std::nextafter(row.cut, kInfinity));
  if (first < end) visit(first, end, row.cut);
}

void Join(const NbceLogits& logits, size_t i, const NbceRow& row, NbceJoin join, size_t begin, size_t end,
          float* combined) {
  ForBothSidesOfCut(row, begin, end, [&](size_t from, size_t to, float least) {
    JoinPool(logits.row(i).subspan(from, to - from), row.log_sum_exp, least, join, combined + from);
  });
}

void Subtract(const NbceLogits& logits, const NbceRow& row, float beta, size_t begin, size_t end, float* combined) {
  ForBothSidesOfCut(row, begin, end, [&](size_t from, size_t to, float least) {
    SubtractBaseline(logits.row(0).subspan(from, to - from), row.log_sum_exp, least, kBaselineFloor, beta,
                     combined + from);
  });
}

void Pool(const NbceLogits& logits, std::span<const NbceRow> rows, NbcePooling pooling, int32_t chosen, size_t begin,
          size_t end, float* combined) {
  if (pooling == NbcePooling::kMinEntropy) {
    const auto k = static_cast<size_t>(chosen);
    return Join(logits, k, rows[k], NbceJoin::kStore, begin, end, combined);
  }
  float n_joined = 0;
  for (size_t i = 1; i < rows.size(); ++i) {
    if (!rows[i].usable) continue;
    const NbceJoin join = n_joined == 0                  ? NbceJoin::kStore
                          : pooling == NbcePooling::kMax ? NbceJoin::kMax
                                                         : NbceJoin::kAdd;
    Join(logits, i, rows[i], join, begin, end, combined);
    ++n_joined;
  }
  if (pooling == NbcePooling::kMean) {
    for (size_t id = begin; id < end; ++id) combined[id] /= n_joined;
  }
}

}  // namespace

int32_t ChooseNbceRow(std::span<const NbceRow> rows, float eta, int32_t previous) {
  int32_t chosen = -1;
  float least = 0;
  for (int32_t i = 1; i < static_cast<int32_t>(rows.size()); ++i) {
    const NbceRow& row = rows[static_cast<size_t>(i)];
    if (!row.usable) continue;
    const float entropy = i == previous ? row.entropy - eta : row.entropy;
    if (chosen < 0 || entropy < least) {
      chosen = i;
      least = entropy;
    }
  }
  return chosen;
}

bool MergeNbce(const NbceLogits& logits, std::span<const NbceRow> rows, float beta, NbcePooling pooling, int32_t chosen,
               size_t begin, size_t end, float* combined) {
  if (chosen < 0) {
    std::fill(combined + begin, combined + end, -kInfinity);
    return false;
  }
  bool any = false;
  // In pieces, so that the pooled values stay in the cache.
  for (; begin < end; begin += kLogitRange) {
    const size_t piece_end = std::min(begin + kLogitRange, end);
    Pool(logits, rows, pooling, chosen, begin, piece_end, combined);
    if (rows[0].usable) Subtract(logits, rows[0], beta, begin, piece_end, combined);
    any = any || MaxLogit({combined + begin, combined + piece_end}) != -kInfinity;
  }
  return any;
}

NbceResult CombineNbce(const NbceLogits& logits, const NbceParams& params, int32_t previous) {
  NbceResult result;
  std::vector<NbceRow> rows;
  for (size_t i = 0; i < logits.n_rows; ++i) {
    rows.push_back(ReadNbceRow(logits.row(i), params.top_p));
    result.entropies.push_back(rows.back().usable ? rows.back().entropy : kNan);
  }
  result.chosen = ChooseNbceRow(rows, params.eta, previous);
  result.logits.resize(logits.vocabulary);
  const auto merge = [&](NbcePooling pooling) {
    return MergeNbce(logits, rows, params.beta, pooling, result.chosen, 0, logits.vocabulary, result.logits.data());
  };
  if (!merge(params.pooling) && params.pooling == NbcePooling::kMean && result.chosen >= 0) {
    result.fell_back = true;
    merge(NbcePooling::kMinEntropy);
  }
  return result;
}

}  // namespace longhaul
