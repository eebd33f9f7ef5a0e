#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/backend/backend.h"
#include "engine/backend/batch_check.h"
#include "engine/model/model_file.h"
#include "engine/model/tensor_reader.h"

namespace longhaul {

// The forward pass of decoder-only transformers, written once over the operations of Backend; see LayerConfig for the
// formula. One thread at a time.
class Transformer {
 public:
  // Reads the weights of `model` and packs them into `backend`, which is not owned and outlives it. Memory beside the
  // packed weights: the tensors that are packed together. UNIMPLEMENTED, before anything is read, where the model asks
  // for what no operation does yet; names layer, property and value. CANCELLED when the reader is stopped.
  static absl::StatusOr<std::unique_ptr<Transformer>> Create(const ModelFile& model, TensorReader& reader,
                                                             const StepLimits& limits, Backend& backend);

  // Runs the operations of one step, from Embed to ChooseTokens. REQUIRES: Backend::BeginStep(batch) was called.
  void Forward(const Batch& batch);

  // The logits of the last step, [n_logit_rows, vocabulary]. For tests.
  std::vector<float> ReadLogits() { return backend_.Read(logits_); }

 private:
  struct Map {
    WeightId matrix;
    std::optional<WeightId> bias;
  };
  struct Layer {  // norms where the LayerConfig has them
    std::optional<WeightId> attention_norm, feed_forward_norm;
    std::optional<WeightId> query_norm, key_norm;
    Map qkv, attention_output, gate_up, down;
  };

  Transformer(const ModelConfig& config, Backend& backend) : config_(config), backend_(backend) {}

  void Linear(ActivationId in, const Map& map, Epilogue epilogue, ActivationId out);
  // Normalises the queries and keys in qkv_, where layer l does.
  void NormQueriesAndKeys(size_t l);
  // The input of a part of a layer: the residual stream, normalised where `norm` is there.
  ActivationId Normed(const std::optional<WeightId>& norm);

  ModelConfig config_;
  Backend& backend_;
  WeightId embedding_{}, output_norm_{}, output_{};
  std::vector<Layer> layers_;
  // Activations of one step; heads_width = n_heads * head_dim, F = feed_forward_width.
  //   hidden, normed  [tokens, width]           attended   [tokens, heads_width]
  //   qkv             [tokens, heads_width + 2 * n_kv_heads * head_dim]
  //   gate_up         [tokens, 2 * F]           activated  [tokens, F]
  //   selected        [logit rows, width]       logits     [logit rows, vocabulary]
  ActivationId hidden_{}, normed_{}, qkv_{}, attended_{}, gate_up_{}, activated_{}, selected_{}, logits_{};
};

}  // namespace longhaul
