#include "engine/model/families/llama.h"

#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>
#include <utility>

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

absl::StatusOr<LayerTensors> TakeLayer(TensorSource& source, const ModelConfig& config, int64_t layer) {
  const auto name = [layer](const char* part) { return absl::StrCat("blk.", layer, ".", part, ".weight"); };
  const int64_t width = config.width, inner = config.feed_forward_width;
  const int64_t query_width = config.n_heads * config.head_dim, kv_width = config.n_kv_heads * config.head_dim;
  LayerTensors t;
  LH_ASSIGN_OR_RETURN(t.attention_norm, source.Vector(name("attn_norm"), width));
  LH_ASSIGN_OR_RETURN(t.query, source.Matrix(name("attn_q"), query_width, width));
  LH_ASSIGN_OR_RETURN(t.key, source.Matrix(name("attn_k"), kv_width, width));
  LH_ASSIGN_OR_RETURN(t.value, source.Matrix(name("attn_v"), kv_width, width));
  LH_ASSIGN_OR_RETURN(t.attention_output, source.Matrix(name("attn_output"), width, query_width));
  LH_ASSIGN_OR_RETURN(t.feed_forward_norm, source.Vector(name("ffn_norm"), width));
  LH_ASSIGN_OR_RETURN(t.gate, source.Matrix(name("ffn_gate"), inner, width));
  LH_ASSIGN_OR_RETURN(t.up, source.Matrix(name("ffn_up"), inner, width));
  LH_ASSIGN_OR_RETURN(t.down, source.Matrix(name("ffn_down"), width, inner));
  if (config.pair_layout == PairLayout::kInterleaved) {
    const int64_t rotary_dims = config.rotation.rotary_dims;
    t.query.tensor.row_order = HalfSplitOrder(config.n_heads, config.head_dim, rotary_dims);
    t.key.tensor.row_order = HalfSplitOrder(config.n_kv_heads, config.head_dim, rotary_dims);
  }
  return t;
}

absl::StatusOr<ModelConfig> ReadConfig(const Checkpoint& checkpoint, ModelConfig config) {
  const Keys keys(checkpoint, kLlama.architecture);
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
  config.pair_layout = PairLayout::kInterleaved;

  LH_ASSIGN_OR_RETURN(config.rotation, ReadRotation(checkpoint, keys, config.head_dim));
  LH_RETURN_IF_ERROR(RefuseOtherForwardPasses(checkpoint, keys, config.rotation.trained_length));
  config.layers.assign(static_cast<size_t>(config.n_layers), LayerConfig());
  return config;
}

absl::StatusOr<ModelTensors> TakeTensors(TensorSource& source, const ModelConfig& config) {
  ModelTensors t;
  LH_ASSIGN_OR_RETURN(t.embedding, source.Matrix("token_embd.weight", config.vocabulary_size, config.width));
  for (int64_t layer = 0; layer < config.n_layers; ++layer) {
    LH_ASSIGN_OR_RETURN(LayerTensors tensors, TakeLayer(source, config, layer));
    t.layers.push_back(std::move(tensors));
  }
  LH_ASSIGN_OR_RETURN(t.output_norm, source.Vector("output_norm.weight", config.width));
  if (source.Has("output.weight")) {
    LH_ASSIGN_OR_RETURN(t.output, source.Matrix("output.weight", config.vocabulary_size, config.width));
  }
  return t;
}

}  // namespace

constinit const Family kLlama = {.architecture = "llama", .read_config = &ReadConfig, .take_tensors = &TakeTensors};

}  // namespace longhaul
