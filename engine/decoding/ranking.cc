#include "engine/decoding/ranking.h"

#include <algorithm>
#include <functional>
#include <limits>

#include "engine/decoding/logit_kernels.h"

namespace longhaul {

Ranking::Ranking(std::span<const float> values)
    : values_(values),
      cell_maxima_(NumCells(values.size())),
      numbers_(CellMaxima(values, cell_maxima_.data())),
      max_(cell_maxima_.empty() ? -std::numeric_limits<float>::infinity() : MaxLogit(cell_maxima_)) {}

template <typename Visit>
void Ranking::VisitFrom(float least, Visit visit) const {
  for (size_t cell = 0; cell < cell_maxima_.size(); ++cell) {
    if (!(cell_maxima_[cell] >= least)) continue;
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
  if (entries_.size() < wanted) {
    // At least `wanted` values reach the maximum of the cell of that rank: each cell holds its own maximum.
    float least = -std::numeric_limits<float>::infinity();
    if (wanted <= cell_maxima_.size()) {
      std::vector<float> maxima = cell_maxima_;
      const auto nth = maxima.begin() + static_cast<std::ptrdiff_t>(wanted) - 1;
      std::nth_element(maxima.begin(), nth, maxima.end(), std::greater<>());
      least = *nth;
    }
    entries_.clear();
    VisitFrom(least, [&](TokenId id, float value) { entries_.push_back({value, id}); });
    sorted_ = 0;
  }
  const auto end = entries_.begin() + static_cast<std::ptrdiff_t>(wanted);
  const auto begin = entries_.begin() + static_cast<std::ptrdiff_t>(sorted_);
  if (wanted < entries_.size()) std::nth_element(begin, end - 1, entries_.end(), Before);
  std::sort(begin, end, Before);
  sorted_ = wanted;
}

}  // namespace longhaul
