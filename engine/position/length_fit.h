#pragma once

#include <cstdint>

// How far modes reach and which parameters hold a text. L is the trained length, N the text's.
// Numbers may be absurdly large: results stop at the largest int64_t.
namespace longhaul {

// a * b and a + b. REQUIRES: both at least 0.
int64_t SaturatingProduct(int64_t a, int64_t b);
int64_t SaturatingSum(int64_t a, int64_t b);

// floor(factor * L), at least 1. REQUIRES: factor >= 0.
int64_t ReachOfFactor(double factor, int64_t trained_length);

// window + step * (L - window): the last distance counts as L. A window from L on adds nothing: L. REQUIRES: step >= 1.
int64_t ReachOfStep(int64_t window, int64_t step, int64_t trained_length);

// The smallest rung of 1, 1.5, 2, 3, 4, 6, 8, 12, ... with rung * L >= N. A ladder, so that requests of about the same
// length share their plan and its cached blocks.
double FitFactor(int64_t length, int64_t trained_length);

// window + (N - window) / step <= L / 2: what Leaky ReRoPE is known to do well with (kexue.fm 9728). REQUIRES: N >
// window.
bool WithinHalf(int64_t window, int64_t step, int64_t length, int64_t trained_length);

// The smallest power of two that is WithinHalf. REQUIRES: window < L / 2.
int64_t FitStep(int64_t window, int64_t length, int64_t trained_length);

// The smallest group with window + (N - window) / group <= 2 L / 3 (arXiv 2401.01325). REQUIRES: window < 2 L / 3.
int64_t FitGroup(int64_t window, int64_t length, int64_t trained_length);

}  // namespace longhaul
