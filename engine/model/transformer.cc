#include "engine/model/transformer.h"

#include <initializer_list>
#include <utility>

#include "engine/base/status_macros.h"

namespace longhaul {

absl::StatusOr<std::unique_ptr<Transformer>> Transformer::Create(const ModelFile& model, TensorReader& reader,
                                                                 const StepLimits& limits, Backend& backend) {
  const ModelConfig& config = model.config;
  auto transformer = std::unique_ptr<Transformer>(new Transformer(config, backend));
  Transformer& t = *transformer;
  const auto matrix = [&](std::initializer_list<const StoredTensor*> parts) -> absl::StatusOr<WeightId> {
    LH_ASSIGN_OR_RETURN(const std::vector<HostTensor> read, reader.Read(parts));
    return backend.PackMatrix(read);
  };
  const auto vector = [&](const StoredTensor& stored) -> absl::StatusOr<WeightId> {
    LH_ASSIGN_OR_RETURN(const std::vector<HostTensor> read, reader.Read({&stored}));
    return backend.PackVector(read.front());
  };

  // A tied output is packed from the same bytes.
  {
    LH_ASSIGN_OR_RETURN(const std::vector<HostTensor> read, reader.Read({&model.embedding}));
    LH_ASSIGN_OR_RETURN(t.embedding_, backend.PackEmbedding(read.front()));
    if (!model.output) {
      LH_ASSIGN_OR_RETURN(t.output_, backend.PackMatrix(read));
    }
  }
  LH_ASSIGN_OR_RETURN(t.output_norm_, vector(model.output_norm));
  for (const LayerTensors& tensors : model.layers) {
    Layer layer{};
    LH_ASSIGN_OR_RETURN(layer.attention_norm, vector(tensors.attention_norm));
    LH_ASSIGN_OR_RETURN(layer.qkv, matrix({&tensors.query, &tensors.key, &tensors.value}));
    LH_ASSIGN_OR_RETURN(layer.attention_output, matrix({&tensors.attention_output}));
    LH_ASSIGN_OR_RETURN(layer.feed_forward_norm, vector(tensors.feed_forward_norm));
    LH_ASSIGN_OR_RETURN(layer.gate_up, matrix({&tensors.gate, &tensors.up}));
    LH_ASSIGN_OR_RETURN(layer.down, matrix({&tensors.down}));
    t.layers_.push_back(layer);
  }
  if (model.output) {
    LH_ASSIGN_OR_RETURN(t.output_, matrix({&*model.output}));
  }

  const int64_t heads_width = config.n_heads * config.head_dim;
  const int64_t qkv_width = heads_width + 2 * config.n_kv_heads * config.head_dim;
  LH_ASSIGN_OR_RETURN(t.hidden_, backend.AllocateActivation(limits.max_tokens, config.width));
  LH_ASSIGN_OR_RETURN(t.normed_, backend.AllocateActivation(limits.max_tokens, config.width));
  LH_ASSIGN_OR_RETURN(t.qkv_, backend.AllocateActivation(limits.max_tokens, qkv_width));
  LH_ASSIGN_OR_RETURN(t.attended_, backend.AllocateActivation(limits.max_tokens, heads_width));
  LH_ASSIGN_OR_RETURN(t.gate_up_, backend.AllocateActivation(limits.max_tokens, 2 * config.feed_forward_width));
  LH_ASSIGN_OR_RETURN(t.activated_, backend.AllocateActivation(limits.max_tokens, config.feed_forward_width));
  LH_ASSIGN_OR_RETURN(t.selected_, backend.AllocateActivation(limits.max_logit_rows, config.width));
  LH_ASSIGN_OR_RETURN(t.logits_, backend.AllocateActivation(limits.max_logit_rows, config.vocabulary_size));
  return transformer;
}

void Transformer::Forward(const Batch& batch) {
  const float epsilon = config_.norm_epsilon;
  backend_.Embed(embedding_, hidden_);
  for (size_t l = 0; l < layers_.size(); ++l) {
    const Layer& layer = layers_[l];
    backend_.RmsNorm(hidden_, layer.attention_norm, epsilon, normed_);
    backend_.Linear(normed_, layer.qkv, Epilogue::kStore, qkv_);
    backend_.Attention(static_cast<int64_t>(l), qkv_, attended_);
    backend_.Linear(attended_, layer.attention_output, Epilogue::kAdd, hidden_);

    backend_.RmsNorm(hidden_, layer.feed_forward_norm, epsilon, normed_);
    backend_.Linear(normed_, layer.gate_up, Epilogue::kStore, gate_up_);
    backend_.SwiGlu(gate_up_, activated_);
    backend_.Linear(activated_, layer.down, Epilogue::kAdd, hidden_);
  }
  if (batch.n_logit_rows() == 0) return;
  backend_.GatherLogitRows(hidden_, selected_);
  backend_.RmsNorm(selected_, output_norm_, epsilon, selected_);
  backend_.Linear(selected_, output_, Epilogue::kStore, logits_);
  backend_.Decode(logits_);
}

}  // namespace longhaul
