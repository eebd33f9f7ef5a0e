#pragma once

#include "engine/model/families/family.h"

namespace longhaul {

// "qwen2": Qwen2, Qwen2.5 and its Coder, DeepSeek's R1 distills of Qwen. As llama, with biases of queries, keys and
// values; the rotary pairs are half-split.
extern const Family kQwen2;

}  // namespace longhaul
