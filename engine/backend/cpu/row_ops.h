#pragma once

#include <cstdint>

namespace longhaul::cpu {

// Operations on one row of floats. Each has one order of summation, fixed by the row's width alone.

// out[i] = in[i] / sqrt(mean(in^2) + epsilon) * weight[i]; out may be in.
void RmsNormRow(const float* in, const float* weight, float epsilon, int64_t width, float* out);

// inout[i] += in[i]
void AddRow(const float* in, int64_t width, float* inout);

// out[i] = gate[i] / (1 + exp(-gate[i])) * up[i]
void SwiGluRow(const float* gate, const float* up, int64_t width, float* out);

}  // namespace longhaul::cpu
