#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <vector>

#include "engine/base/token.h"

// The vector loops of NBCE. Each has one order of summation, which depends on its arguments alone; what is done element
// by element has the same bits on every instruction set but for the last bit of an exponential.
namespace longhaul {

// Tokens of one row among which a top-p cut is looked for, ids ascending. Memory grows to the largest row and stays.
struct NbceCandidates {
  size_t size = 0;
  float least = 0, largest = 0;  // of the logits; least > largest when there are none
  std::vector<float> logits, probabilities;
  std::vector<TokenId> ids;
};

// Makes `candidates` those tokens of a row whose logit is at least `least`, with exp(logit - log_sum_exp) beside them.
// REQUIRES: no logit is NaN, `least` is finite.
void GatherCandidates(std::span<const float> logits, float log_sum_exp, float least, NbceCandidates& candidates);

// Leaves the candidates with low <= logit < high. REQUIRES: `low` is finite.
void NarrowCandidates(NbceCandidates& candidates, float low, float high);

// masses[i] = the sum of the probabilities whose logit is at least thresholds[i]: in 16 lanes over ranges of 1,024
// candidates, the ranges added in double; never larger for a larger threshold. REQUIRES: they are finite.
inline constexpr size_t kThresholds = 8;
std::array<double, kThresholds> MassesFrom(const NbceCandidates& candidates,
                                           const std::array<float, kThresholds>& thresholds);

// -sum p ln p over the tokens whose logit is above `cut`, nats: ln p = logit - log_sum_exp, held within [-100, 0] so
// that nothing times infinity stays nothing. In 64 lanes over ranges of kLogitRange, the ranges added in double.
double EntropyAbove(std::span<const float> logits, float log_sum_exp, float cut);

// How a row joins the pool.
enum class NbceJoin { kStore, kAdd, kMax };

// pool[i] joined with logits[i] - log_sum_exp where the logit is at least `least`, with -infinity elsewhere.
void JoinPool(std::span<const float> logits, float log_sum_exp, float least, NbceJoin join, float* pool);

// pool[i] = (1 + beta) pool[i] - beta l_0 where l_0 = logits[i] - log_sum_exp is above `floor` and the logit is at
// least `least`; pool[i] as it was elsewhere and where it is -infinity. REQUIRES: `floor` is finite.
void SubtractBaseline(std::span<const float> logits, float log_sum_exp, float least, float floor, float beta,
                      float* pool);

}  // namespace longhaul
