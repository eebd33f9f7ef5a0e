#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "engine/model/gguf.h"
#include "engine/position/rotary_plan.h"
#include "engine/text/vocabulary.h"

namespace longhaul {

// Which dimensions of a head turn together in the file's q and k rows.
enum class PairLayout { kInterleaved, kHalfSplit };  // (2i, 2i+1); (i, i + rotary_dims / 2)

// The hyperparameters of a decoder-only transformer of the llama kind.
struct ModelConfig {
  std::string architecture, name;
  int64_t n_layers = 0, n_heads = 0, n_kv_heads = 0, head_dim = 0;
  int64_t width = 0;  // of the residual stream
  int64_t feed_forward_width = 0;
  int64_t vocabulary_size = 0;
  float norm_epsilon = 1e-5f;
  PairLayout pair_layout = PairLayout::kInterleaved;
  ModelRotation rotation;  // pair_factors and long_factors included
};

// Reads and checks the hyperparameters. INVALID_ARGUMENT naming file and key. The seam for further architectures.
absl::StatusOr<ModelConfig> ReadModelConfig(const GgufFile& file);

// Reads the tokenizer's keys as they are; Tokenizer::Create checks them. INVALID_ARGUMENT naming file and key.
absl::StatusOr<Vocabulary> ReadVocabulary(const GgufFile& file);

}  // namespace longhaul
