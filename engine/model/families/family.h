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

// A family of models: how a checkpoint of its architecture is read. Each stands in a file of its own, as a constant
// that family.cc lists.
struct Family {
  std::string_view architecture;  // what "general.architecture" holds

  // Fills `config`, whose architecture, name and vocabulary_size are there already, from the family's keys, with the
  // LayerConfig of every layer. INVALID_ARGUMENT naming file and key, also of a key that would change the forward pass
  // and has no place in ModelConfig.
  absl::StatusOr<ModelConfig> (*read_config)(const Checkpoint& checkpoint, ModelConfig config);

  // Takes the tensors that such a model has. INVALID_ARGUMENT naming file and tensor.
  absl::StatusOr<ModelTensors> (*take_tensors)(TensorSource& source, const ModelConfig& config);
};

// All that there are.
std::span<const Family* const> Families();

// The one of an architecture; null when there is none.
const Family* FindFamily(std::string_view architecture);

// "'llama' is", or "'a', 'b' are": for a message that says which architectures are supported.
std::string SupportedArchitectures();

}  // namespace longhaul
