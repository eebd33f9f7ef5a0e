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

// The forward pass of decoder-only transformers, written once over Backend's operations; LayerConfig has its formula.
class Transformer {
 public:
  // Reads the weights of `model` and packs them into `backend`, which is not owned and outlives it. Beside what is
  // packed it takes the memory of the tensors at hand. UNIMPLEMENTED, before anything is read, naming layer, property
  // and value, where the model's configuration asks for what no operation does yet. CANCELLED when the reader is
  // stopped.
  static absl::StatusOr<std::unique_ptr<Transformer>> Create(const ModelFile& model, TensorReader& reader,
                                                             const StepLimits& limits, Backend& backend);

  // The operations of one step, from the batch's tokens to ChooseTokens. REQUIRES: Backend::BeginStep was called.
  void Forward(const Batch& batch);

  // The logits of the last step, [n_logit_rows, vocabulary]. For tests.
  std::vector<float> ReadLogits() { return backend_.Read(logits_); }

 private:
  struct Layer {
    std::optional<WeightId> attention_norm, feed_forward_norm;  // before; there where the LayerConfig has them
    WeightId qkv, attention_output, gate_up, down;
  };

  Transformer(const ModelConfig& config, Backend& backend) : config_(config), backend_(backend) {}

  // What goes into a part of a layer: the residual stream, normalised where there is a norm.
  ActivationId Normed(const std::optional<WeightId>& norm);

  ModelConfig config_;
  Backend& backend_;
  WeightId embedding_{}, output_norm_{}, output_{};
  std::vector<Layer> layers_;
  // Activations of one step: hidden, normed [tokens, width]; qkv; attended [tokens, n_heads * head_dim]; gate_up;
  // activated; those of logit rows.
  ActivationId hidden_{}, normed_{}, qkv_{}, attended_{}, gate_up_{}, activated_{}, selected_{}, logits_{};
};

}  // namespace longhaul
