#pragma once

#include "engine/model/families/family.h"

namespace longhaul {

// "llama": Llama 2 and 3, SmolLM2, TinyLlama, Mistral 7B where its window is as long as its context, and what else has
// the default LayerConfig in every layer, with biases or without; no experts. The rotary pairs are interleaved.
extern const Family kLlama;

}  // namespace longhaul
