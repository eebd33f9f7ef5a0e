#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/backend/backend.h"

namespace longhaul {

// A tensor of the model, and where its bytes are in the checkpoint's source.
struct StoredTensor {
  HostTensor tensor;  // without its bytes
  int64_t offset = 0;
};

// A linear map: its matrix and, where the LayerConfig has one, its bias, both as parts that are stacked along the
// outputs.
struct StoredLinear {
  std::vector<StoredTensor> matrix;
  std::vector<StoredTensor> bias;  // empty: none
};

// The tensors of one layer; those of norms are there where the LayerConfig has the norm. The row_order of what makes
// and normalises queries and keys brings their rotary pairs into the half-split layout.
struct LayerTensors {
  std::optional<StoredTensor> attention_norm, feed_forward_norm;  // before the part
  std::optional<StoredTensor> query_norm, key_norm;               // qk_norm
  StoredLinear query_key_value, attention_output, gate_up, down;
};

// The tensors of a model.
struct ModelTensors {
  StoredTensor embedding, output_norm;
  std::optional<StoredTensor> output;  // none where the output shares the embedding's matrix
  std::vector<LayerTensors> layers;    // [n_layers]
};

}  // namespace longhaul
