#pragma once

#include <cstdint>

// What the single-regime modes do to the frequencies: the number by which theta of pair i is divided, i = 0 .. dims/2 -
// 1 from fast to slow. All of them are 1 to the bit at factor 1.
//
// REQUIRES everywhere: dims even, 0 <= pair < dims / 2, factor >= 1, all numbers finite.
namespace longhaul {

// NTK-aware as bloc97 published it: base * factor^(d / (d - 2)), so factor^(2i / (d - 2)); the slowest pair is divided
// by exactly the factor. (LocalLLaMA, June 2023; arXiv 2309.00071, section 3.1; Hugging Face's dynamic NTK.)
double NtkDivisor(int64_t pair, int64_t dims, double factor);

// NTK-aware by the radix argument: base * factor, so factor^(2i / d). (kexue.fm 9675.)
double NtkRadixDivisor(int64_t pair, int64_t dims, double factor);

// NTK-RoPE-fixed: factor^(2 (i + 1) / d). (kexue.fm 9706, eq. 5.)
double NtkFixedDivisor(int64_t pair, int64_t dims, double factor);

// NTK-RoPE-mixed: exp(a (i + 1)^b) with a (d / 2)^b = ln factor, 0 <= b <= 1. b = 1 is NTK-RoPE-fixed and b = 0
// position interpolation, to the bit. (kexue.fm 9706.)
double BetaMixedDivisor(int64_t pair, int64_t dims, double factor, double b);

// Between keeping a pair (kept_share 1: divisor 1) and interpolating it (0: divisor factor): theta becomes
// (1 - share) theta / factor + share theta. (YaRN, arXiv 2309.00071, eq. 13; Llama 3.1.)
double RampDivisor(double kept_share, double factor);

// YaRN's kept share as a ramp over the pair index, of the authors' code and all that follow it: from floor(dim(beta))
// to ceil(dim(alpha)), dim(r) = d ln(length / (2 pi r)) / (2 ln base). (github.com/jquesnelle/yarn.) REQUIRES: base >
// 1, length > 0, 0 < alpha < beta.
double IndexRampShare(int64_t pair, int64_t dims, double base, int64_t length, double alpha, double beta);

// The kept share as a ramp over the turns length * theta / (2 pi) that a pair makes within `length`: 0 from `low` down,
// 1 from `high` up. It is the ramp of YaRN's paper (eq. 11-12; low alpha, high beta) and that of Llama 3.1
// (low_freq_factor, high_freq_factor: the turns are length / wavelength). REQUIRES: theta >= 0, length > 0, 0 < low <
// high.
double TurnsRampShare(double theta, int64_t length, double low, double high);

// What YaRN multiplies queries and keys by, 0.1 ln(factor) + 1. (arXiv 2309.00071, eq. 15.)
double YarnTemperature(double factor);

}  // namespace longhaul
