#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/model/gguf.h"
#include "engine/model/model_config.h"
#include "engine/model/tensor_reader.h"

namespace longhaul {

// The tensors of one layer. q and k have a row_order that brings their pairs into the half-split layout.
struct LayerTensors {
  StoredTensor attention_norm, query, key, value, attention_output;
  StoredTensor feed_forward_norm, gate, up, down;
};

// A model file that was found whole: every tensor there, of the right shape and a supported type. Their bytes have not
// been read: see TensorReader. The file is open as long as this lives.
struct ModelFile {
  std::unique_ptr<GgufFile> gguf;
  ModelConfig config;
  StoredTensor embedding, output_norm;
  std::optional<StoredTensor> output;  // none where the file ties it to the embedding
  std::vector<LayerTensors> layers;
  int64_t parameters = 0;         // elements of all tensors
  bool layers_quantized = false;  // the layers' matrices are of a quantized type (the first layer's decide)
};

// INVALID_ARGUMENT names the file and the tensor, its shape and the expected one.
absl::StatusOr<ModelFile> LoadModelFile(const std::string& path);
// The same from a parsed file.
absl::StatusOr<ModelFile> LoadModelFile(std::unique_ptr<GgufFile> gguf);

}  // namespace longhaul
