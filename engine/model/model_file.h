#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/backend/backend.h"
#include "engine/model/gguf.h"
#include "engine/model/model_config.h"

namespace longhaul {

// The tensors of one layer. q and k have a row_order that brings their pairs into the half-split layout.
struct LayerTensors {
  HostTensor attention_norm, query, key, value, attention_output;
  HostTensor feed_forward_norm, gate, up, down;
};

// A model file that was found whole: every tensor there, of the right shape and a supported type.
struct ModelFile {
  std::unique_ptr<GgufFile> gguf;  // owns the bytes that the tensors point to
  ModelConfig config;
  HostTensor embedding, output_norm;
  HostTensor output;  // the embedding again where the file ties them
  std::vector<LayerTensors> layers;
  int64_t parameters = 0;         // elements of all tensors
  bool layers_quantized = false;  // the layers' matrices are of a quantized type (the first layer's decide)
  std::string fingerprint;        // hex SHA-256 of the header and the file's size
};

// INVALID_ARGUMENT names the file and the tensor, its shape and the expected one.
absl::StatusOr<ModelFile> LoadModelFile(const std::string& path);
// The same from a parsed file.
absl::StatusOr<ModelFile> LoadModelFile(std::unique_ptr<GgufFile> gguf);

}  // namespace longhaul
