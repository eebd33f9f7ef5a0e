#pragma once

#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "engine/model/checkpoint.h"
#include "engine/model/families/tensor_source.h"
#include "engine/model/model_config.h"
#include "engine/model/model_tensors.h"

namespace longhaul {

// A family of models: how to read a checkpoint of its architecture. Each is a constant in a file of its own, and
// family.cc lists it.
struct Family {
  std::string_view architecture;  // what "general.architecture" holds

  // Completes `config`, which has architecture, name and vocabulary_size, from the keys of the family, with the
  // LayerConfig of every layer. INVALID_ARGUMENT names file and key, also for a key that would change the forward pass
  // and has no place in ModelConfig.
  absl::StatusOr<ModelConfig> (*read_config)(const Checkpoint& checkpoint, ModelConfig config);

  // Takes the tensors of the model. INVALID_ARGUMENT names file and tensor.
  absl::StatusOr<ModelTensors> (*take_tensors)(TensorSource& source, const ModelConfig& config);
};

// All families.
std::span<const Family* const> Families();

// The family of an architecture; null when there is none.
const Family* FindFamily(std::string_view architecture);

// "'llama' is", or "'a', 'b' are": for a message that says which architectures are supported.
std::string SupportedArchitectures();

}  // namespace longhaul
