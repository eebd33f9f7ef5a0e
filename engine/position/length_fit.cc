#include "engine/position/length_fit.h"

#include <algorithm>
#include <limits>

namespace longhaul {
namespace {

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

}  // namespace

int64_t SaturatingProduct(int64_t a, int64_t b) {
  return b != 0 && a > kMax / b ? kMax : a * b;
}

int64_t SaturatingSum(int64_t a, int64_t b) {
  return a > kMax - b ? kMax : a + b;
}

int64_t ReachOfFactor(double factor, int64_t trained_length) {
  const double reach = factor * static_cast<double>(trained_length);
  if (!(reach < static_cast<double>(kMax))) return kMax;
  return std::max<int64_t>(static_cast<int64_t>(reach), 1);
}

int64_t ReachOfStep(int64_t window, int64_t step, int64_t trained_length) {
  if (window >= trained_length) return trained_length;
  return SaturatingSum(window, SaturatingProduct(step, trained_length - window));
}

double FitFactor(int64_t length, int64_t trained_length) {
  const double ratio = static_cast<double>(length) / static_cast<double>(trained_length);
  double rung = 1;
  while (rung < ratio) rung *= 2;
  // 1.5, 3, 6, ... lie between two powers of two.
  return rung > 1 && 0.75 * rung >= ratio ? 0.75 * rung : rung;
}

bool WithinHalf(int64_t window, int64_t step, int64_t length, int64_t trained_length) {
  const int64_t room = trained_length - SaturatingProduct(2, window);
  return room >= 0 && SaturatingProduct(2, length - window) <= SaturatingProduct(step, room);
}

int64_t FitStep(int64_t window, int64_t length, int64_t trained_length) {
  constexpr int64_t kMaxStep = int64_t{1} << 62;
  int64_t step = 1;
  while (step < kMaxStep && length > window && !WithinHalf(window, step, length, trained_length)) step *= 2;
  return step;
}

int64_t FitGroup(int64_t window, int64_t length, int64_t trained_length) {
  if (length <= window) return 1;
  const int64_t room = std::max<int64_t>(SaturatingProduct(2, trained_length) - SaturatingProduct(3, window), 1);
  // 3 (N - window) / room, rounded up; divided first, since the product may be too large.
  const int64_t whole = (length - window) / room, rest = (length - window) % room;
  return SaturatingSum(SaturatingProduct(3, whole), rest == 0 ? 0 : (SaturatingProduct(3, rest) - 1) / room + 1);
}

}  // namespace longhaul
