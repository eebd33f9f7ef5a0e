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

// The tensors of one layer. The row_order of query and key brings their rotary pairs into the half-split layout.
struct LayerTensors {
  std::optional<StoredTensor> attention_norm, feed_forward_norm;  // where the LayerConfig has the norm before
  StoredTensor query, key, value, attention_output;
  StoredTensor gate, up, down;
};

// The tensors of a model.
struct ModelTensors {
  StoredTensor embedding, output_norm;
  std::optional<StoredTensor> output;  // none where the output shares the embedding's matrix
  std::vector<LayerTensors> layers;    // [n_layers]
};

}  // namespace longhaul
