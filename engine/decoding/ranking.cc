#include "engine/decoding/ranking.h"

#include <algorithm>
#include <functional>
#include <limits>

#include "engine/decoding/logit_kernels.h"

namespace longhaul {

Ranking::Ranking(std::span<const float> values, Memory& memory) : values_(values), memory_(memory) {
  memory_.cell_maxima.resize(NumCells(values.size()));
  memory_.entries.clear();
  numbers_ = CellMaxima(values, memory_.cell_maxima.data());
  max_ = memory_.cell_maxima.empty() ? -std::numeric_limits<float>::infinity() : MaxLogit(memory_.cell_maxima);
}

template <typename Visit>
void Ranking::VisitFrom(float least, Visit visit) const {
  const std::vector<float>& cell_maxima = memory_.cell_maxima;
  for (size_t cell = 0; cell < cell_maxima.size(); ++cell) {
    if (!(cell_maxima[cell] >= least)) continue;
    const size_t first = cell / kCellStride * kTile + cell % kCellStride;
    const size_t end = std::min(first + kTile, values_.size());
    for (size_t id = first; id < end; id += kCellStride) {
      if (values_[id] >= least) visit(static_cast<TokenId>(id), values_[id]);
    }
  }
}

TokenId Ranking::First() const {
  TokenId first = std::numeric_limits<TokenId>::max();
  VisitFrom(max_, [&](TokenId id, float) { first = std::min(first, id); });
  return first;
}

void Ranking::Grow() {
  constexpr size_t kFirstGrowth = 32, kFactor = 4;
  const size_t wanted = std::min(std::max(kFirstGrowth, kFactor * sorted_), values_.size());
  std::vector<Entry>& entries = memory_.entries;
  if (entries.size() < wanted) {
    // At least `wanted` values reach the maximum of the cell of that rank: each cell holds its own maximum.
    float least = -std::numeric_limits<float>::infinity();
    if (wanted <= memory_.cell_maxima.size()) {
      std::vector<float>& maxima = memory_.maxima;
      maxima = memory_.cell_maxima;
      const auto nth = maxima.begin() + static_cast<std::ptrdiff_t>(wanted) - 1;
      std::nth_element(maxima.begin(), nth, maxima.end(), std::greater<>());
      least = *nth;
    }
    entries.clear();
    entries.reserve(values_.size());
    VisitFrom(least, [&](TokenId id, float value) { entries.push_back({value, id}); });
    sorted_ = 0;
  }
  const auto end = entries.begin() + static_cast<std::ptrdiff_t>(wanted);
  const auto begin = entries.begin() + static_cast<std::ptrdiff_t>(sorted_);
  if (wanted < entries.size()) std::nth_element(begin, end - 1, entries.end(), Before);
  std::sort(begin, end, Before);
  sorted_ = wanted;
}

}  // namespace longhaul
