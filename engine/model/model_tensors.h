#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/backend/backend.h"

namespace longhaul {

// A tensor as the model uses it, and where it lies in the checkpoint's source.
struct StoredTensor {
  HostTensor tensor;  // without its bytes
  int64_t offset = 0;
};

// The tensors of one layer. q and k have a row_order that brings their pairs into the half-split layout.
struct LayerTensors {
  std::optional<StoredTensor> attention_norm, feed_forward_norm;  // there where the LayerConfig has them before
  StoredTensor query, key, value, attention_output;
  StoredTensor gate, up, down;
};

// The tensors of a model.
struct ModelTensors {
  StoredTensor embedding, output_norm;
  std::optional<StoredTensor> output;  // none where the file ties it to the embedding
  std::vector<LayerTensors> layers;    // [n_layers]
};

}  // namespace longhaul
