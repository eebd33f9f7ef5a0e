#pragma once

#include <cstdint>

namespace longhaul {

// An index into a model's vocabulary.
using TokenId = int32_t;

}  // namespace longhaul
