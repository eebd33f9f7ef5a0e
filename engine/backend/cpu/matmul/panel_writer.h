#pragma once

#include <cstdint>

#include "engine/backend/cpu/matmul/packed_layout.h"
#include "engine/backend/tensor_type.h"

namespace longhaul::cpu {

// Writes one panel from 16 rows of `type` as they lie in a file; a null row is a padded output, all zeros.
// REQUIRES: the layout's format can hold the type: a quantized type's own, or any of the floats for a float type.
void WritePanel(const PanelLayout& layout, TensorType type, const uint8_t* const rows[kPanelOutputs], uint8_t* panel);

}  // namespace longhaul::cpu
