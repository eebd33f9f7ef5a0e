#pragma once

#include "engine/model/families/family.h"

namespace longhaul {

// "qwen3": the dense models of Qwen3. As llama, with a norm of each query's and key's head before the rotation; the
// rotary pairs are half-split.
extern const Family kQwen3;

}  // namespace longhaul
