#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/decoding/nbce_kernels.cc"
#include "hwy/foreach_target.h"
// The line above compiles this file once per instruction set.
#include <algorithm>
#include <limits>

#include "engine/base/exp-inl.h"
#include "engine/decoding/logit_kernels.h"
#include "engine/decoding/nbce_kernels.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace longhaul {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using DI = hn::RebindToSigned<D>;
using V = hn::Vec<D>;
using M = hn::Mask<D>;
constexpr size_t kLanes = HWY_LANES(float);
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// A whole vector is stored where fewer lanes count: so much must lie behind the last candidate.
constexpr size_t kPadding = 64;
static_assert(kLanes <= kPadding);

// Calls visit(x, at) for each vector of a row; what is beyond its end comes as -infinity.
template <typename Visit>
HWY_INLINE void ForEachVector(const float* x, size_t n, Visit visit) {
  const D d;
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) visit(hn::LoadU(d, x + i), i);
  if (i == n) return;
  HWY_ALIGN float lanes[kLanes];
  std::fill(std::copy(x + i, x + n, lanes), lanes + kLanes, -kInfinity);
  visit(hn::Load(d, lanes), i);
}

// Appends lanes to candidates and keeps track of their least and largest logit.
class Appender {
 public:
  explicit Appender(NbceCandidates& candidates) : c_(candidates) { c_.size = 0; }
  ~Appender() {
    const D d;
    c_.least = hn::GetLane(hn::MinOfLanes(d, least_));
    c_.largest = hn::GetLane(hn::MaxOfLanes(d, largest_));
    // The loops read whole vectors; no bound is at -infinity.
    std::fill_n(c_.logits.begin() + static_cast<std::ptrdiff_t>(c_.size), kPadding, -kInfinity);
    std::fill_n(c_.probabilities.begin() + static_cast<std::ptrdiff_t>(c_.size), kPadding, 0.0f);
  }

  HWY_INLINE void Append(V logits, V probabilities, hn::Vec<DI> ids, M which) {
    const D d;
    const DI di;
    hn::StoreU(hn::Compress(logits, which), d, c_.logits.data() + c_.size);
    hn::StoreU(hn::Compress(probabilities, which), d, c_.probabilities.data() + c_.size);
    hn::StoreU(hn::Compress(ids, hn::RebindMask(di, which)), di, c_.ids.data() + c_.size);
    c_.size += hn::CountTrue(d, which);
    least_ = hn::Min(least_, hn::IfThenElse(which, logits, hn::Set(d, kInfinity)));
    largest_ = hn::Max(largest_, hn::IfThenElse(which, logits, hn::Set(d, -kInfinity)));
  }

 private:
  NbceCandidates& c_;
  V least_ = hn::Set(D(), kInfinity), largest_ = hn::Set(D(), -kInfinity);
};

void GatherCandidates(std::span<const float> logits, float log_sum_exp, float least, NbceCandidates& c) {
  const D d;
  const DI di;
  const V normaliser = hn::Set(d, log_sum_exp), bound = hn::Set(d, least);
  Appender out(c);
  ForEachVector(logits.data(), logits.size(), [&](V x, size_t at) HWY_ATTR {
    const M which = hn::Ge(x, bound);
    if (hn::AllFalse(d, which)) return;
    out.Append(x, Exp(d, hn::Sub(x, normaliser)), hn::Iota(di, static_cast<TokenId>(at)), which);
  });
}

void NarrowCandidates(NbceCandidates& c, float low, float high) {
  const D d;
  const DI di;
  const V low_v = hn::Set(d, low), high_v = hn::Set(d, high);
  const size_t n = c.size;
  Appender out(c);
  // In place: what is written lies before what is read next, and what is read past the last candidate is -infinity.
  for (size_t i = 0; i < n; i += kLanes) {
    const V x = hn::LoadU(d, c.logits.data() + i);
    const M which = hn::And(hn::Ge(x, low_v), hn::Lt(x, high_v));
    if (hn::AllFalse(d, which)) continue;
    out.Append(x, hn::LoadU(d, c.probabilities.data() + i), hn::LoadU(di, c.ids.data() + i), which);
  }
}

std::array<double, kThresholds> MassesFrom(const NbceCandidates& c, const std::array<float, kThresholds>& thresholds) {
  const D d;
  constexpr size_t kMassRange = 1024, kMassLanes = 16, kVectors = kMassLanes / kLanes;
  static_assert(kMassLanes % kLanes == 0 && kMassLanes <= kPadding);
  std::array<double, kThresholds> masses{};
  for (size_t begin = 0; begin < c.size; begin += kMassRange) {
    const size_t end = std::min(begin + kMassRange, c.size);
    for (size_t v = 0; v < kVectors; ++v) {
      V sums[kThresholds];
      for (V& sum : sums) sum = hn::Zero(d);
      for (size_t i = begin + v * kLanes; i < end; i += kMassLanes) {
        const V x = hn::LoadU(d, c.logits.data() + i), p = hn::LoadU(d, c.probabilities.data() + i);
        for (size_t t = 0; t < kThresholds; ++t) {
          sums[t] = hn::Add(sums[t], hn::IfThenElseZero(hn::Ge(x, hn::Set(d, thresholds[t])), p));
        }
      }
      for (size_t t = 0; t < kThresholds; ++t) {
        HWY_ALIGN float lanes[kLanes];
        hn::Store(sums[t], d, lanes);
        for (float lane : lanes) masses[t] += static_cast<double>(lane);
      }
    }
  }
  return masses;
}

double EntropyAbove(std::span<const float> logits, float log_sum_exp, float cut) {
  const D d;
  constexpr size_t kSumLanes = 64, kVectors = kSumLanes / kLanes;
  static_assert(kSumLanes % kLanes == 0 && kLogitRange % kSumLanes == 0);
  const V normaliser = hn::Set(d, log_sum_exp), cut_v = hn::Set(d, cut);
  double entropy = 0;
  for (size_t begin = 0; begin < logits.size(); begin += kLogitRange) {
    const size_t n = std::min(kLogitRange, logits.size() - begin);
    V sums[kVectors];
    for (V& sum : sums) sum = hn::Zero(d);
    ForEachVector(logits.data() + begin, n, [&](V x, size_t at) HWY_ATTR {
      const M above = hn::Gt(x, cut_v);
      if (hn::AllFalse(d, above)) return;
      const V l = hn::Min(hn::Max(hn::Sub(x, normaliser), hn::Set(d, -100)), hn::Zero(d));
      V& sum = sums[at / kLanes % kVectors];
      sum = hn::Sub(sum, hn::IfThenElseZero(above, hn::Mul(Exp(d, l), l)));
    });
    for (const V& sum : sums) {
      HWY_ALIGN float lanes[kLanes];
      hn::Store(sum, d, lanes);
      for (float lane : lanes) entropy += static_cast<double>(lane);
    }
  }
  return entropy;
}

// Replaces x[i] by change(logits[i], x[i]), vector by vector.
template <typename Change>
HWY_INLINE void ChangeEach(std::span<const float> logits, float* x, Change change) {
  const D d;
  size_t i = 0;
  for (; i + kLanes <= logits.size(); i += kLanes) {
    hn::StoreU(change(hn::LoadU(d, logits.data() + i), hn::LoadU(d, x + i)), d, x + i);
  }
  if (i == logits.size()) return;
  HWY_ALIGN float logit_lanes[kLanes] = {}, lanes[kLanes] = {};
  const size_t rest = logits.size() - i;
  std::copy_n(logits.data() + i, rest, logit_lanes);
  std::copy_n(x + i, rest, lanes);
  hn::Store(change(hn::Load(d, logit_lanes), hn::Load(d, lanes)), d, lanes);
  std::copy_n(lanes, rest, x + i);
}

void JoinPool(std::span<const float> logits, float log_sum_exp, float least, NbceJoin join, float* pool) {
  const D d;
  const V normaliser = hn::Set(d, log_sum_exp), min_v = hn::Set(d, least), dropped = hn::Set(d, -kInfinity);
  const auto truncated = [&](V x)
                             HWY_ATTR { return hn::IfThenElse(hn::Ge(x, min_v), hn::Sub(x, normaliser), dropped); };
  switch (join) {
    case NbceJoin::kStore:
      return ChangeEach(logits, pool, [&](V x, V) HWY_ATTR { return truncated(x); });
    case NbceJoin::kAdd:
      return ChangeEach(logits, pool, [&](V x, V sum) HWY_ATTR { return hn::Add(sum, truncated(x)); });
    case NbceJoin::kMax:
      return ChangeEach(logits, pool, [&](V x, V max) HWY_ATTR { return hn::Max(max, truncated(x)); });
  }
}

void SubtractBaseline(std::span<const float> logits, float log_sum_exp, float least, float floor, float beta,
                      float* pool) {
  const D d;
  const V normaliser = hn::Set(d, log_sum_exp), min_v = hn::Set(d, least), floor_v = hn::Set(d, floor);
  const V beta_v = hn::Set(d, beta), one_more = hn::Set(d, 1 + beta), dropped = hn::Set(d, -kInfinity);
  ChangeEach(logits, pool, [&](V x, V l) HWY_ATTR {
    const V l0 = hn::Sub(x, normaliser);
    const M both = hn::And(hn::And(hn::Ge(x, min_v), hn::Gt(l0, floor_v)), hn::Gt(l, dropped));
    return hn::IfThenElse(both, hn::Sub(hn::Mul(one_more, l), hn::Mul(beta_v, l0)), l);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace longhaul
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace longhaul {

HWY_EXPORT(GatherCandidates);
HWY_EXPORT(NarrowCandidates);
HWY_EXPORT(MassesFrom);
HWY_EXPORT(EntropyAbove);
HWY_EXPORT(JoinPool);
HWY_EXPORT(SubtractBaseline);

void GatherCandidates(std::span<const float> logits, float log_sum_exp, float least, NbceCandidates& candidates) {
  const size_t room = logits.size() + HWY_NAMESPACE::kPadding;
  if (candidates.ids.size() < room) {  // the last to grow: where memory ended between them, all are looked at again
    candidates.logits.resize(room);
    candidates.probabilities.resize(room);
    candidates.ids.resize(room);
  }
  HWY_DYNAMIC_DISPATCH(GatherCandidates)(logits, log_sum_exp, least, candidates);
}

void NarrowCandidates(NbceCandidates& candidates, float low, float high) {
  HWY_DYNAMIC_DISPATCH(NarrowCandidates)(candidates, low, high);
}

std::array<double, kThresholds> MassesFrom(const NbceCandidates& candidates,
                                           const std::array<float, kThresholds>& thresholds) {
  return HWY_DYNAMIC_DISPATCH(MassesFrom)(candidates, thresholds);
}

double EntropyAbove(std::span<const float> logits, float log_sum_exp, float cut) {
  return HWY_DYNAMIC_DISPATCH(EntropyAbove)(logits, log_sum_exp, cut);
}

void JoinPool(std::span<const float> logits, float log_sum_exp, float least, NbceJoin join, float* pool) {
  HWY_DYNAMIC_DISPATCH(JoinPool)(logits, log_sum_exp, least, join, pool);
}

void SubtractBaseline(std::span<const float> logits, float log_sum_exp, float least, float floor, float beta,
                      float* pool) {
  HWY_DYNAMIC_DISPATCH(SubtractBaseline)(logits, log_sum_exp, least, floor, beta, pool);
}

}  // namespace longhaul
#endif
