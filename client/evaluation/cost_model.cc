#include "client/evaluation/cost_model.h"

namespace longhaul {

void CostModel::Observe(int64_t tokens, double seconds) {
  if (tokens < 1 || !(seconds > 0)) return;
  seen_.push_back({static_cast<double>(tokens), seconds});
  Fit();
}

double CostModel::ShareDone(int64_t read, int64_t tokens) const {
  const auto work = [&](int64_t n) {
    const auto x = static_cast<double>(n);
    return linear_ + quadratic_ > 0 ? SecondsOf(x) : x + share_ * x * x;
  };
  return tokens > 0 ? work(read) / work(tokens) : 0;
}

// Least squares of relative errors: with u = N / t and v = N^2 / t, a u + b v ~ 1.
void CostModel::Fit() {
  double uu = 0, uv = 0, vv = 0, u1 = 0, v1 = 0;
  for (const Seen& s : seen_) {
    const double u = s.tokens / s.seconds, v = s.tokens * u;
    uu += u * u;
    uv += u * v;
    vv += v * v;
    u1 += u;
    v1 += v;
  }
  const double determinant = uu * vv - uv * uv;
  if (determinant > 1e-6 * uu * vv) {
    linear_ = (u1 * vv - v1 * uv) / determinant;
    quadratic_ = (v1 * uu - u1 * uv) / determinant;
    if (linear_ >= 0 && quadratic_ >= 0) return;
  }
  // One length, or noise: one factor on the shape's own ratio.
  linear_ = (u1 + share_ * v1) / (uu + 2 * share_ * uv + share_ * share_ * vv);
  quadratic_ = share_ * linear_;
}

}  // namespace longhaul
