#pragma once

#include <cstdint>
#include <vector>

namespace longhaul {

// How long a request of N tokens takes: a N + b N^2 seconds (products and attention), from those that were seen.
class CostModel {
 public:
  // The ratio b / a as the model's shape says; it is used until requests of two lengths were seen.
  explicit CostModel(double quadratic_share) : share_(quadratic_share) {}

  void Observe(int64_t tokens, double seconds);

  // 0 while nothing was seen.
  double Seconds(int64_t tokens) const { return SecondsOf(static_cast<double>(tokens)); }

  // The share of the work on `tokens` tokens that is done when the first `read` were read.
  double ShareDone(int64_t read, int64_t tokens) const;

 private:
  double SecondsOf(double n) const { return linear_ * n + quadratic_ * n * n; }
  void Fit();

  struct Seen {
    double tokens, seconds;
  };

  const double share_;
  std::vector<Seen> seen_;
  double linear_ = 0, quadratic_ = 0;
};

}  // namespace longhaul
