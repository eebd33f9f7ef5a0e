#pragma once

#include <string>
#include <vector>

#include "tests/support/gguf_writer.h"

namespace longhaul {

// Small models with random weights, one of the shape of each family: "llama" (with biases), "qwen2" and so
// on. Their goldens are
// goldens/family_NAME.json.
std::vector<std::string> FamilyModelNames();

// REQUIRES: `name` is one of them.
GgufWriter FamilyModel(const std::string& name);

}  // namespace longhaul
