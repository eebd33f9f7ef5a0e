#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/backend/tensor_type.h"

namespace longhaul::cpu {

// Writes `elements` values of a row of blocks as f32, equal to the bit to the reference formulas of the GGUF format.
// REQUIRES: elements is a multiple of the type's block.
void DequantizeRow(TensorType type, const std::byte* row, int64_t elements, float* out);

}  // namespace longhaul::cpu
