#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/model/checkpoint.h"
#include "engine/model/layer_config.h"
#include "engine/position/rotary_plan.h"

namespace longhaul {

// Which dimensions of a head are rotated as a pair in the q and k rows of the file.
enum class PairLayout { kInterleaved, kHalfSplit };  // (2i, 2i+1); (i, i + rotary_dims / 2)

// The hyperparameters of a decoder-only transformer: what all layers share, and how each one computes.
struct ModelConfig {
  std::string architecture, name;
  int64_t n_layers = 0, n_heads = 0, n_kv_heads = 0, head_dim = 0;
  int64_t width = 0;  // of the residual stream
  int64_t feed_forward_width = 0;
  int64_t vocabulary_size = 0;
  float norm_epsilon = 1e-5f;
  float embedding_scale = 1;      // multiplies the embedding of a token
  float final_logit_softcap = 0;  // logits become c tanh(logit / c); 0: they stay
  PairLayout pair_layout = PairLayout::kInterleaved;
  ModelRotation rotation;                          // pair_factors and long_factors included; a mode changes it
  std::optional<ModelRotation> constant_rotation;  // of layers whose rotation is kConstant: no mode changes it
  std::vector<LayerConfig> layers;                 // [n_layers]
};

// Reads and checks the hyperparameters. INVALID_ARGUMENT names file and key; for an unknown architecture it lists the
// known ones (engine/model/families).
absl::StatusOr<ModelConfig> ReadModelConfig(const Checkpoint& checkpoint);

}  // namespace longhaul
