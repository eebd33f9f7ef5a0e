#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "engine/base/token.h"

namespace longhaul {

// A row of logits by (value descending, id ascending), sorted only as far as it is asked for: the maxima of the cells
// give a bound that the wanted number of values surely reach, and only cells at or above it are looked at again.
class Ranking {
 public:
  struct Entry {
    float value;
    TokenId id;
  };

  // What a ranking works in: some bytes a value. Where one ranking after the other has the same, it is taken once.
  struct Memory {
    std::vector<float> cell_maxima, maxima;
    std::vector<Entry> entries;
  };

  // `values` and `memory` outlive this; no other ranking uses `memory` meanwhile.
  Ranking(std::span<const float> values, Memory& memory);

  // False when a value is NaN; then ask nothing else.
  bool numbers() const { return numbers_; }
  size_t size() const { return values_.size(); }
  // -infinity when there are no values.
  float max() const { return max_; }

  // The id of rank 0, without sorting anything. REQUIRES: size() > 0.
  TokenId First() const;

  // REQUIRES: rank < size().
  const Entry& operator[](size_t rank) {
    while (rank >= sorted_) Grow();
    return memory_.entries[rank];
  }

 private:
  static bool Before(const Entry& a, const Entry& b) {
    return a.value > b.value || (a.value == b.value && a.id < b.id);
  }

  // Calls visit(id, value) for every value that is at least `least`, cell by cell.
  template <typename Visit>
  void VisitFrom(float least, Visit visit) const;
  void Grow();

  std::span<const float> values_;
  Memory& memory_;
  bool numbers_ = true;
  float max_;
  size_t sorted_ = 0;  // of memory_.entries the first ones, which are in order and precede all others
};

}  // namespace longhaul
