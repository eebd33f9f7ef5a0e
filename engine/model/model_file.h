#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "engine/model/checkpoint.h"
#include "engine/model/model_config.h"
#include "engine/model/model_tensors.h"

namespace longhaul {

// A model file that was checked to be complete: every tensor is there, with the right shape and a supported type. The
// bytes of tensors have not been read: see TensorReader. The file is open as long as this lives.
struct ModelFile {
  std::unique_ptr<Checkpoint> checkpoint;
  ModelConfig config;
  ModelTensors tensors;
  int64_t parameters = 0;         // elements of all tensors
  bool layers_quantized = false;  // the layers' matrices are of a quantized type (the first layer's decide)
};

// Opens and checks a model file. INVALID_ARGUMENT names the file and the tensor, its shape and the expected one.
absl::StatusOr<ModelFile> LoadModelFile(const std::string& path);
// The same from an open checkpoint.
absl::StatusOr<ModelFile> LoadModelFile(std::unique_ptr<Checkpoint> checkpoint);

}  // namespace longhaul
