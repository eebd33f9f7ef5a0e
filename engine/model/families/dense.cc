#include "engine/model/families/dense.h"

#include <cstdint>
#include <initializer_list>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/backend/backend.h"
#include "engine/base/status_macros.h"
#include "engine/model/families/keys.h"
#include "engine/model/families/rotation.h"

namespace longhaul {
namespace {

// Bound later allocations; the largest published models of this kind stay below a quarter of each.
constexpr int64_t kMaxLayers = 1000;
constexpr int64_t kMaxWidth = 1 << 16;
constexpr int64_t kMaxFeedForwardWidth = 1 << 18;
constexpr int64_t kMaxHeads = 4096;

// Keys that would change the forward pass, with the value that leaves it as it is. A file that holds another is
// refused: its answers would be silently wrong.
absl::Status RefuseOtherForwardPasses(const Checkpoint& checkpoint, const Keys& keys, int64_t context_length) {
  struct Neutral {
    std::string_view suffix;
    double value;
  };
  static constexpr Neutral kNumbers[] = {
      {"expert_count", 0},
      {"logit_scale", 1},
      {"residual_scale", 1},
      {"embedding_scale", 1},
      {"attn_logit_softcapping", 0},
      {"final_logit_softcapping", 0},
      {"attention.max_alibi_bias", 0},
      {"attention.clamp_kqv", 0},
      {"attention.shared_kv_layers", 0},
      {"attention.temperature_scale", 0},
      {"attention.q_lora_rank", 0},
      {"attention.kv_lora_rank", 0},
      {"rope.scaling.yarn_ext_factor", 1},
      {"rope.scaling.yarn_attn_factor", 1},
      {"rope.scaling.yarn_beta_fast", 32},
      {"rope.scaling.yarn_beta_slow", 1},
      {"rope.scaling.yarn_log_multiplier", 0},
  };
  for (const Neutral& neutral : kNumbers) {
    LH_ASSIGN_OR_RETURN(const std::optional<double> value, checkpoint.OptionalNumber(keys.Key(neutral.suffix)));
    if (value && *value != neutral.value) {
      return keys.Error(neutral.suffix, *value, ": only ", neutral.value, " is supported");
    }
  }
  static constexpr std::pair<std::string_view, bool> kBools[] = {{"use_parallel_residual", false},
                                                                 {"attention.causal", true}};
  for (const auto& [suffix, neutral] : kBools) {
    LH_ASSIGN_OR_RETURN(const std::optional<bool> value, checkpoint.OptionalBool(keys.Key(suffix)));
    if (value && *value != neutral) {
      return keys.Error(suffix, *value ? "true" : "false", ": only ", neutral ? "true" : "false", " is supported");
    }
  }
  LH_ASSIGN_OR_RETURN(const int64_t window,
                      keys.Integer("attention.sliding_window", 0, std::numeric_limits<int64_t>::max(), 0));
  if (window > 0 && window < context_length) {
    return keys.Error("attention.sliding_window", window, ", shorter than the context length ", context_length,
                      ": sliding-window attention is not supported");
  }
  return absl::OkStatus();
}

// Takes the tensors of one layer: "blk.N." and a part.
class LayerTaker {
 public:
  // Neither is owned; both outlive it.
  LayerTaker(TensorSource& source, const ModelConfig& config, int64_t layer)
      : source_(source),
        config_(config),
        formula_(config.layers[static_cast<size_t>(layer)]),
        prefix_(absl::StrCat("blk.", layer, ".")) {}

  absl::StatusOr<LayerTensors> Take() {
    const int64_t width = config_.width, inner = config_.feed_forward_width;
    const int64_t query_width = config_.n_heads * config_.head_dim, kv_width = config_.n_kv_heads * config_.head_dim;
    const Biases& biases = formula_.biases;
    LayerTensors t;
    LH_ASSIGN_OR_RETURN(t.attention_norm, Norm(formula_.attention_norm.before, "attn_norm", width));
    LH_ASSIGN_OR_RETURN(t.query_key_value, Map({{"attn_q", query_width}, {"attn_k", kv_width}, {"attn_v", kv_width}},
                                               width, biases.query_key_value));
    if (config_.pair_layout == PairLayout::kInterleaved) {
      for (std::vector<StoredTensor>* parts : {&t.query_key_value.matrix, &t.query_key_value.bias}) {
        if (parts->empty()) continue;
        (*parts)[0].tensor.row_order = HalfSplit(config_.n_heads);
        (*parts)[1].tensor.row_order = HalfSplit(config_.n_kv_heads);
      }
    }
    LH_ASSIGN_OR_RETURN(t.query_norm, QueryOrKeyNorm("attn_q_norm", config_.n_heads));
    LH_ASSIGN_OR_RETURN(t.key_norm, QueryOrKeyNorm("attn_k_norm", config_.n_kv_heads));
    LH_ASSIGN_OR_RETURN(t.attention_output, Map({{"attn_output", width}}, query_width, biases.attention_output));
    LH_ASSIGN_OR_RETURN(t.feed_forward_norm, Norm(formula_.feed_forward_norm.before, "ffn_norm", width));
    LH_ASSIGN_OR_RETURN(t.gate_up, Map({{"ffn_gate", inner}, {"ffn_up", inner}}, width, biases.feed_forward));
    LH_ASSIGN_OR_RETURN(t.down, Map({{"ffn_down", width}}, inner, biases.feed_forward));
    return t;
  }

 private:
  struct Part {
    const char* name;
    int64_t outputs;
  };

  absl::StatusOr<StoredLinear> Map(std::initializer_list<Part> parts, int64_t columns, bool has_bias) {
    StoredLinear map;
    for (const Part& part : parts) {
      LH_ASSIGN_OR_RETURN(StoredTensor matrix, source_.Matrix(Name(part.name, "weight"), part.outputs, columns));
      map.matrix.push_back(std::move(matrix));
      if (!has_bias) continue;
      LH_ASSIGN_OR_RETURN(StoredTensor bias, source_.Vector(Name(part.name, "bias"), part.outputs));
      map.bias.push_back(std::move(bias));
    }
    return map;
  }

  absl::StatusOr<std::optional<StoredTensor>> Norm(bool is_there, const char* name, int64_t elements) {
    if (!is_there) return std::nullopt;
    LH_ASSIGN_OR_RETURN(StoredTensor norm, source_.Vector(Name(name, "weight"), elements));
    return norm;
  }

  absl::StatusOr<std::optional<StoredTensor>> QueryOrKeyNorm(const char* name, int64_t heads) {
    if (formula_.qk_norm == QkNorm::kPerHead) heads = 1;  // all share one
    LH_ASSIGN_OR_RETURN(std::optional<StoredTensor> norm,
                        Norm(formula_.qk_norm != QkNorm::kNone, name, heads * config_.head_dim));
    if (norm && config_.pair_layout == PairLayout::kInterleaved) norm->tensor.row_order = HalfSplit(heads);
    return norm;
  }

  std::vector<int32_t> HalfSplit(int64_t heads) const {
    return HalfSplitOrder(heads, config_.head_dim, config_.rotation.rotary_dims);
  }
  std::string Name(const char* part, const char* what) const { return absl::StrCat(prefix_, part, ".", what); }

  TensorSource& source_;
  const ModelConfig& config_;
  const LayerConfig& formula_;
  const std::string prefix_;
};

}  // namespace

absl::StatusOr<ModelConfig> ReadDenseConfig(const Checkpoint& checkpoint, ModelConfig config) {
  const Keys keys(checkpoint, config.architecture);
  LH_ASSIGN_OR_RETURN(config.n_layers, keys.Integer("block_count", 1, kMaxLayers));
  LH_ASSIGN_OR_RETURN(config.width, keys.Integer("embedding_length", 1, kMaxWidth));
  LH_ASSIGN_OR_RETURN(config.feed_forward_width, keys.Integer("feed_forward_length", 1, kMaxFeedForwardWidth));
  LH_ASSIGN_OR_RETURN(config.n_heads, keys.Integer("attention.head_count", 1, kMaxHeads));
  LH_ASSIGN_OR_RETURN(config.n_kv_heads, keys.Integer("attention.head_count_kv", 1, config.n_heads, config.n_heads));
  if (config.n_heads % config.n_kv_heads != 0) {
    return keys.Error("attention.head_count_kv", config.n_kv_heads, ", expected a divisor of the ", config.n_heads,
                      " heads");
  }

  const bool divides = config.width % config.n_heads == 0;
  const int64_t even_share = config.width / config.n_heads;
  if (!keys.Has("attention.key_length") && (!divides || even_share % 2 != 0 || even_share > kMaxHeadDim)) {
    return keys.Error("attention.head_count", config.n_heads, ", expected one that divides the width ", config.width,
                      " into heads of an even number of dimensions up to ", kMaxHeadDim);
  }
  LH_ASSIGN_OR_RETURN(config.head_dim, keys.Integer("attention.key_length", 2, kMaxHeadDim, even_share));
  if (config.head_dim % 2 != 0) {
    return keys.Error("attention.key_length", config.head_dim, ", expected an even number");
  }
  if (config.n_heads * config.head_dim > kMaxWidth) {
    return keys.Error("attention.head_count", config.n_heads, " with heads of ", config.head_dim,
                      " dimensions, expected a product of at most ", kMaxWidth);
  }
  LH_ASSIGN_OR_RETURN(const int64_t value_length,
                      keys.Integer("attention.value_length", 1, kMaxHeadDim, config.head_dim));
  if (value_length != config.head_dim) {
    return keys.Error("attention.value_length", value_length, ", expected ", config.head_dim,
                      " as of the keys: other lengths are not supported");
  }
  LH_ASSIGN_OR_RETURN(const double epsilon, keys.Number("attention.layer_norm_rms_epsilon", 1e-12, 1));
  config.norm_epsilon = static_cast<float>(epsilon);

  LH_ASSIGN_OR_RETURN(config.rotation, ReadRotation(checkpoint, keys, config.head_dim));
  LH_RETURN_IF_ERROR(RefuseOtherForwardPasses(checkpoint, keys, config.rotation.trained_length));
  config.layers.assign(static_cast<size_t>(config.n_layers), LayerConfig());
  return config;
}

absl::StatusOr<ModelTensors> TakeDenseTensors(TensorSource& source, const ModelConfig& config) {
  ModelTensors t;
  LH_ASSIGN_OR_RETURN(t.embedding, source.Matrix("token_embd.weight", config.vocabulary_size, config.width));
  for (int64_t layer = 0; layer < config.n_layers; ++layer) {
    LH_ASSIGN_OR_RETURN(LayerTensors tensors, LayerTaker(source, config, layer).Take());
    t.layers.push_back(std::move(tensors));
  }
  LH_ASSIGN_OR_RETURN(t.output_norm, source.Vector("output_norm.weight", config.width));
  if (source.Has("output.weight")) {
    LH_ASSIGN_OR_RETURN(t.output, source.Matrix("output.weight", config.vocabulary_size, config.width));
  }
  return t;
}

}  // namespace longhaul
