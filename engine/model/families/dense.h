#pragma once

#include "absl/status/statusor.h"
#include "engine/model/checkpoint.h"
#include "engine/model/families/tensor_source.h"
#include "engine/model/model_config.h"
#include "engine/model/model_tensors.h"

namespace longhaul {

// What the families of decoders without experts have in common. Errors are INVALID_ARGUMENT and name file and key or
// tensor.

// Completes `config` from the keys of its architecture; each layer has the default LayerConfig, and pairs are
// interleaved: a family changes what is otherwise in its models. A key that would change the forward pass is refused.
absl::StatusOr<ModelConfig> ReadDenseConfig(const Checkpoint& checkpoint, ModelConfig config);

// Takes the tensors that the LayerConfigs ask for, under their usual names.
absl::StatusOr<ModelTensors> TakeDenseTensors(TensorSource& source, const ModelConfig& config);

}  // namespace longhaul
