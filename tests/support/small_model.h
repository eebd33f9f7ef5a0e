#pragma once

#include <string>

#include "engine/backend/tensor_type.h"

namespace longhaul {

// The model of the tests for which it does not matter what a model says: random weights, and in its kernels the default
// model's ways (heads of 64, three queries a key, weights of Q4_1), in a twentieth of its time. Ids are below 6,144;
// its tokenizer knows the letters a to t and the space. A file of this process, which is removed at its end.
// Also of another family, or with weights of another type.
std::string SmallModelPath(const std::string& architecture = "llama", TensorType type = TensorType::kQ4_1);

}  // namespace longhaul
