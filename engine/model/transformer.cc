#include "engine/model/transformer.h"

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"

namespace longhaul {
namespace {

// The only place that knows what Backend has no operation for yet. Whoever adds an operation removes its line here and
// calls it in Forward. The members of a LayerConfig are bound one by one, so that a new one does not compile before it
// is named here or used in Forward.
absl::Status RefuseWhatNoOperationDoes(const ModelConfig& config, const std::string& path) {
  struct Property {
    bool supported;
    std::string_view name;
    std::string value;
    std::string_view only;  // the value that is supported
  };
  const auto check = [&path](std::string_view where, std::span<const Property> properties) -> absl::Status {
    for (const Property& property : properties) {
      if (property.supported) continue;
      return absl::UnimplementedError(absl::StrCat(path, ": ", ToAbsl(where), ToAbsl(property.name), " is ",
                                                   property.value, ": only ", ToAbsl(property.only), " is supported"));
    }
    return absl::OkStatus();
  };
  const auto name = [](bool value) { return std::string(value ? "true" : "false"); };

  const Property of_model[] = {
      {config.embedding_scale == 1, "embedding scale", absl::StrCat(config.embedding_scale), "1"},
      {config.final_logit_softcap == 0, "final logit softcap", absl::StrCat(config.final_logit_softcap), "0 (none)"}};
  LH_RETURN_IF_ERROR(check("", of_model));
  for (size_t l = 0; l < config.layers.size(); ++l) {
    [[maybe_unused]] const auto& [window, rotation, qk_norm, scale, softcap, attention_norm, feed_forward_norm, biases,
                                  gate] = config.layers[l];
    const Property of_layer[] = {
        {window == 0, "attention window", absl::StrCat(window), "0 (the whole text)"},
        {rotation == LayerRotation::kRequest, "rotation", std::string(Name(rotation)), "request"},
        {!scale, "attention scale", absl::StrCat(scale.value_or(0)), "1 / sqrt(head_dim)"},
        {softcap == 0, "attention softcap", absl::StrCat(softcap), "0 (none)"},
        {!attention_norm.after, "norm after attention", name(attention_norm.after), "false"},
        {!feed_forward_norm.after, "norm after feed-forward", name(feed_forward_norm.after), "false"},
        {gate == Gate::kSilu, "gate", std::string(Name(gate)), "silu"}};
    LH_RETURN_IF_ERROR(check(absl::StrCat("layer ", l, ": "), of_layer));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Transformer>> Transformer::Create(const ModelFile& model, TensorReader& reader,
                                                                 const StepLimits& limits, Backend& backend) {
  const ModelConfig& config = model.config;
  LH_RETURN_IF_ERROR(RefuseWhatNoOperationDoes(config, model.checkpoint->path()));
  const ModelTensors& tensors = model.tensors;
  auto transformer = std::unique_ptr<Transformer>(new Transformer(config, backend));
  Transformer& t = *transformer;
  const auto matrix = [&](std::span<const StoredTensor> parts) -> absl::StatusOr<WeightId> {
    LH_ASSIGN_OR_RETURN(const std::vector<HostTensor> read, reader.Read(parts));
    return backend.PackMatrix(read);
  };
  const auto vector = [&](std::span<const StoredTensor> parts) -> absl::StatusOr<WeightId> {
    LH_ASSIGN_OR_RETURN(const std::vector<HostTensor> read, reader.Read(parts));
    return backend.PackVector(read);
  };
  const auto map = [&](const StoredLinear& stored) -> absl::StatusOr<Map> {
    Map packed{};
    LH_ASSIGN_OR_RETURN(packed.matrix, matrix(stored.matrix));
    if (!stored.bias.empty()) {
      LH_ASSIGN_OR_RETURN(packed.bias, vector(stored.bias));
    }
    return packed;
  };
  const auto norm = [&](bool is_there,
                        const std::optional<StoredTensor>& stored) -> absl::StatusOr<std::optional<WeightId>> {
    if (!is_there) return std::nullopt;
    LH_ASSIGN_OR_RETURN(const WeightId packed, vector({&*stored, 1}));
    return packed;
  };

  // A tied output is packed from the bytes of the embedding.
  {
    LH_ASSIGN_OR_RETURN(const std::vector<HostTensor> read, reader.Read({&tensors.embedding, 1}));
    LH_ASSIGN_OR_RETURN(t.embedding_, backend.PackEmbedding(read.front()));
    if (!tensors.output) {
      LH_ASSIGN_OR_RETURN(t.output_, backend.PackMatrix(read));
    }
  }
  LH_ASSIGN_OR_RETURN(t.output_norm_, vector({&tensors.output_norm, 1}));
  for (size_t l = 0; l < tensors.layers.size(); ++l) {
    const LayerTensors& from = tensors.layers[l];
    const LayerConfig& formula = config.layers[l];
    Layer layer{};
    LH_ASSIGN_OR_RETURN(layer.attention_norm, norm(formula.attention_norm.before, from.attention_norm));
    LH_ASSIGN_OR_RETURN(layer.query_norm, norm(formula.qk_norm != QkNorm::kNone, from.query_norm));
    LH_ASSIGN_OR_RETURN(layer.key_norm, norm(formula.qk_norm != QkNorm::kNone, from.key_norm));
    LH_ASSIGN_OR_RETURN(layer.qkv, map(from.query_key_value));
    LH_ASSIGN_OR_RETURN(layer.attention_output, map(from.attention_output));
    LH_ASSIGN_OR_RETURN(layer.feed_forward_norm, norm(formula.feed_forward_norm.before, from.feed_forward_norm));
    LH_ASSIGN_OR_RETURN(layer.gate_up, map(from.gate_up));
    LH_ASSIGN_OR_RETURN(layer.down, map(from.down));
    t.layers_.push_back(layer);
  }
  if (tensors.output) {
    LH_ASSIGN_OR_RETURN(t.output_, matrix({&*tensors.output, 1}));
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
  backend_.Embed(embedding_, hidden_);
  for (size_t l = 0; l < layers_.size(); ++l) {
    const Layer& layer = layers_[l];
    Linear(Normed(layer.attention_norm), layer.qkv, Epilogue::kStore, qkv_);
    NormQueriesAndKeys(l);
    backend_.Attention(static_cast<int64_t>(l), qkv_, attended_);
    Linear(attended_, layer.attention_output, Epilogue::kAdd, hidden_);

    Linear(Normed(layer.feed_forward_norm), layer.gate_up, Epilogue::kStore, gate_up_);
    backend_.SwiGlu(gate_up_, activated_);
    Linear(activated_, layer.down, Epilogue::kAdd, hidden_);
  }
  if (batch.n_logit_rows() == 0) return;
  backend_.GatherLogitRows(hidden_, selected_);
  backend_.RmsNorm(selected_, output_norm_, config_.norm_epsilon, selected_);
  backend_.Linear(selected_, output_, std::nullopt, Epilogue::kStore, logits_);
  backend_.ChooseTokens(logits_);
}

void Transformer::Linear(ActivationId in, const Map& map, Epilogue epilogue, ActivationId out) {
  backend_.Linear(in, map.matrix, map.bias, epilogue, out);
}

void Transformer::NormQueriesAndKeys(size_t l) {
  const Layer& layer = layers_[l];
  if (!layer.query_norm) return;
  const bool per_head = config_.layers[l].qk_norm == QkNorm::kPerHead;
  const int64_t first_key = config_.n_heads * config_.head_dim;
  backend_.RmsNormSlices(qkv_, 0, per_head ? config_.n_heads : 1, *layer.query_norm, config_.norm_epsilon);
  backend_.RmsNormSlices(qkv_, first_key, per_head ? config_.n_kv_heads : 1, *layer.key_norm, config_.norm_epsilon);
}

ActivationId Transformer::Normed(const std::optional<WeightId>& norm) {
  if (!norm) return hidden_;
  backend_.RmsNorm(hidden_, *norm, config_.norm_epsilon, normed_);
  return normed_;
}

}  // namespace longhaul
