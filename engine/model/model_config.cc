#include "engine/model/model_config.h"

#include <cmath>
#include <limits>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "engine/backend/backend.h"
#include "engine/base/quoted.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/base/utf8.h"

namespace longhaul {
namespace {

// What keeps later allocations sane; the largest published models of this kind stay below a quarter of each.
constexpr int64_t kMaxLayers = 1000;
constexpr int64_t kMaxWidth = 1 << 16;
constexpr int64_t kMaxFeedForwardWidth = 1 << 18;
constexpr int64_t kMaxHeads = 4096;
constexpr int64_t kMaxContextLength = 1 << 30;
constexpr int64_t kMaxVocabulary = 1 << 20;

// The keys of one architecture: "llama." and a suffix.
class Keys {
 public:
  explicit Keys(const GgufFile& file, std::string_view architecture) : file_(file), architecture_(architecture) {}

  template <typename... Parts>
  absl::Status Error(std::string_view suffix, const Parts&... parts) const {
    return absl::InvalidArgumentError(absl::StrCat(file_.path(), ": key ", Quoted(Key(suffix)), " holds ", parts...));
  }

  std::string Key(std::string_view suffix) const { return absl::StrCat(architecture_, ".", ToAbsl(suffix)); }

  // An integer of [least, most]; `otherwise` where the key is missing, and an error where that is none.
  absl::StatusOr<int64_t> Integer(std::string_view suffix, int64_t least, int64_t most,
                                  std::optional<int64_t> otherwise = std::nullopt) const {
    LH_ASSIGN_OR_RETURN(std::optional<int64_t> value, file_.OptionalInteger(Key(suffix)));
    if (!value && !otherwise) return Missing(suffix);
    if (!value) value = otherwise;
    if (*value < least || *value > most) {
      return Error(suffix, *value, ", expected an integer from ", least, " to ", most);
    }
    return *value;
  }

  // The same for a number.
  absl::StatusOr<double> Number(std::string_view suffix, double least, double most,
                                std::optional<double> otherwise = std::nullopt) const {
    LH_ASSIGN_OR_RETURN(std::optional<double> value, file_.OptionalNumber(Key(suffix)));
    if (!value && !otherwise) return Missing(suffix);
    if (!value) value = otherwise;
    if (!(*value >= least && *value <= most)) {  // also what is not a number
      return Error(suffix, *value, ", expected a number from ", least, " to ", most);
    }
    return *value;
  }

  bool Has(std::string_view suffix) const {
    const auto value = file_.OptionalNumber(Key(suffix));
    return !value.ok() || value->has_value();
  }

 private:
  absl::Status Missing(std::string_view suffix) const {
    return absl::InvalidArgumentError(absl::StrCat(file_.path(), ": key ", Quoted(Key(suffix)), " is missing"));
  }

  const GgufFile& file_;
  const std::string architecture_;
};

// Keys that would change the forward pass, with the value that leaves it as it is. A file that holds another is
// refused: its answers would be wrong without a sign.
absl::Status RefuseOtherForwardPasses(const GgufFile& file, const Keys& keys, int64_t context_length) {
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
    LH_ASSIGN_OR_RETURN(const std::optional<double> value, file.OptionalNumber(keys.Key(neutral.suffix)));
    if (value && *value != neutral.value) {
      return keys.Error(neutral.suffix, *value, ": only ", neutral.value, " is supported");
    }
  }
  static constexpr std::pair<std::string_view, bool> kBools[] = {{"use_parallel_residual", false},
                                                                 {"attention.causal", true}};
  for (const auto& [suffix, neutral] : kBools) {
    LH_ASSIGN_OR_RETURN(const std::optional<bool> value, file.OptionalBool(keys.Key(suffix)));
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

// A table of what each theta_i is divided by; empty when the file has none.
absl::StatusOr<std::vector<float>> ReadPairFactors(const GgufFile& file, std::string_view name, int64_t rotary_dims) {
  const GgufTensor* tensor = file.Find(name);
  if (tensor == nullptr) return std::vector<float>();
  const auto error = [&](const auto&... parts) {
    return absl::InvalidArgumentError(absl::StrCat(file.path(), ": tensor ", Quoted(name), " ", parts...));
  };
  if (tensor->type != TensorType::kF32) {
    return error("has type ", ToAbsl(Info(tensor->type).name), ", expected F32");
  }
  if (tensor->dims.size() != 1 || tensor->elements != rotary_dims / 2) {
    return error("has ", tensor->elements, " elements in ", tensor->dims.size(), " dimensions, expected ",
                 rotary_dims / 2, " in 1 (half of the rotary dimensions)");
  }
  std::vector<float> factors(static_cast<size_t>(tensor->elements));
  LH_RETURN_IF_ERROR(file.source().Read(tensor->offset, std::as_writable_bytes(std::span(factors))));
  constexpr float kMin = 1e-6f, kMax = 1e6f;
  for (const float factor : factors) {
    if (!(factor >= kMin && factor <= kMax)) {
      return error("holds ", factor, ", expected numbers from ", kMin, " to ", kMax);
    }
  }
  return factors;
}

absl::Status ReadDeclaredScaling(const GgufFile& file, const Keys& keys, ModelRotation& rotation) {
  constexpr double kMaxFactor = 1e6;
  // scale_linear is the older name. 0 stands for none.
  const std::string_view suffix = keys.Has("rope.scaling.factor") ? "rope.scaling.factor" : "rope.scale_linear";
  LH_ASSIGN_OR_RETURN(const double factor, keys.Number(suffix, 0, kMaxFactor, 0));
  LH_ASSIGN_OR_RETURN(const std::optional<std::string> type, file.OptionalString(keys.Key("rope.scaling.type")));
  LH_ASSIGN_OR_RETURN(rotation.original_length,
                      keys.Integer("rope.scaling.original_context_length", 0, kMaxContextLength, 0));
  LH_ASSIGN_OR_RETURN(rotation.attention_factor, keys.Number("rope.scaling.attn_factor", 0.01, 100, 1));

  // Writers of GGUF files leave the type out where the scaling is linear.
  if (type == "none" || (!type && factor == 0)) {
    rotation.scaling = ModelRotation::Scaling::kNone;
  } else if (type == "linear" || !type) {
    rotation.scaling = factor == 0 ? ModelRotation::Scaling::kNone : ModelRotation::Scaling::kLinear;
  } else if (type == "yarn") {
    rotation.scaling = ModelRotation::Scaling::kYarn;
    if (factor == 0) return keys.Error("rope.scaling.type", "'yarn', but 'rope.scaling.factor' is missing or 0");
  } else {
    return keys.Error("rope.scaling.type", Quoted(*type), ", which is not supported: none, linear and yarn are");
  }
  if (rotation.scaling != ModelRotation::Scaling::kNone) {
    if (factor < 1) return keys.Error(suffix, factor, ", expected a number from 1 to ", kMaxFactor);
    rotation.factor = factor;
  }
  if (rotation.scaling != ModelRotation::Scaling::kYarn && rotation.attention_factor != 1) {
    return keys.Error("rope.scaling.attn_factor", rotation.attention_factor, ": only 1 is supported without yarn");
  }
  return absl::OkStatus();
}

// The name is shown to clients, whose messages hold UTF-8 only.
std::string Printable(const std::string& name) {
  constexpr size_t kMaxBytes = 256;
  if (name.size() <= kMaxBytes && FirstInvalidUtf8(name) == name.size()) return name;
  return absl::CHexEscape(name.substr(0, kMaxBytes));
}

absl::StatusOr<ModelConfig> ReadLlama(const GgufFile& file, ModelConfig config) {
  const Keys keys(file, "llama");
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

  ModelRotation& rotation = config.rotation;
  LH_ASSIGN_OR_RETURN(rotation.trained_length, keys.Integer("context_length", 1, kMaxContextLength));
  LH_ASSIGN_OR_RETURN(rotation.rotary_dims, keys.Integer("rope.dimension_count", 2, config.head_dim, config.head_dim));
  if (rotation.rotary_dims % 2 != 0) {
    return keys.Error("rope.dimension_count", rotation.rotary_dims, ", expected an even number");
  }
  LH_ASSIGN_OR_RETURN(rotation.base, keys.Number("rope.freq_base", 2, 1e15, 10000));
  LH_RETURN_IF_ERROR(ReadDeclaredScaling(file, keys, rotation));
  LH_ASSIGN_OR_RETURN(rotation.pair_factors, ReadPairFactors(file, "rope_freqs.weight", rotation.rotary_dims));
  LH_ASSIGN_OR_RETURN(rotation.long_factors, ReadPairFactors(file, "rope_factors_long.weight", rotation.rotary_dims));
  LH_RETURN_IF_ERROR(RefuseOtherForwardPasses(file, keys, rotation.trained_length));
  return config;
}

// A GGUF file may hold less than a model, or something beside one.
absl::Status RefusePartsAndOthers(const GgufFile& file) {
  LH_ASSIGN_OR_RETURN(const std::optional<int64_t> parts, file.OptionalInteger("split.count"));
  if (parts.value_or(1) > 1) {
    LH_ASSIGN_OR_RETURN(const std::optional<int64_t> part, file.OptionalInteger("split.no"));
    const std::string which = part && *part >= 0 && *part < *parts ? absl::StrCat("part ", *part + 1, " of ", *parts)
                                                                   : absl::StrCat("one of ", *parts, " parts");
    return absl::InvalidArgumentError(
        absl::StrCat(file.path(), ": ", which,
                     " of a split model, which is not supported yet: merge them with "
                     "'llama-gguf-split --merge FIRST_PART MERGED' and serve the merged file"));
  }
  LH_ASSIGN_OR_RETURN(const std::optional<std::string> type, file.OptionalString("general.type"));
  if (type && *type != "model") {
    return absl::InvalidArgumentError(
        absl::StrCat(file.path(), ": key 'general.type' holds ", Quoted(*type),
                     ", expected 'model': the file is no model but something beside one"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ModelConfig> ReadModelConfig(const GgufFile& file) {
  LH_RETURN_IF_ERROR(RefusePartsAndOthers(file));
  ModelConfig config;
  LH_ASSIGN_OR_RETURN(config.architecture, file.String("general.architecture"));
  LH_ASSIGN_OR_RETURN(const std::optional<std::string> name, file.OptionalString("general.name"));
  config.name = Printable(name.value_or(""));
  LH_ASSIGN_OR_RETURN(const std::vector<std::string>* tokens, file.Strings("tokenizer.ggml.tokens"));
  config.vocabulary_size = static_cast<int64_t>(tokens->size());
  if (config.vocabulary_size < 1 || config.vocabulary_size > kMaxVocabulary) {
    return absl::InvalidArgumentError(absl::StrCat(file.path(), ": key 'tokenizer.ggml.tokens' holds ",
                                                   config.vocabulary_size, " tokens, expected 1 to ", kMaxVocabulary));
  }
  if (config.architecture == "llama") return ReadLlama(file, std::move(config));
  return absl::InvalidArgumentError(absl::StrCat(file.path(), ": key 'general.architecture' holds ",
                                                 Quoted(config.architecture), ", which is not supported: 'llama' is"));
}

absl::StatusOr<Vocabulary> ReadVocabulary(const GgufFile& file) {
  Vocabulary vocabulary;
  LH_ASSIGN_OR_RETURN(vocabulary.model, file.String("tokenizer.ggml.model"));
  LH_ASSIGN_OR_RETURN(const std::optional<std::string> pre_tokenizer, file.OptionalString("tokenizer.ggml.pre"));
  vocabulary.pre_tokenizer = pre_tokenizer.value_or("default");
  LH_ASSIGN_OR_RETURN(const std::vector<std::string>* tokens, file.Strings("tokenizer.ggml.tokens"));
  vocabulary.tokens = *tokens;

  LH_ASSIGN_OR_RETURN(const auto kinds, file.OptionalIntegers("tokenizer.ggml.token_type"));
  vocabulary.kinds.assign(tokens->size(), TokenKind::kNormal);
  if (kinds) {
    if (kinds->size() != tokens->size()) {
      return absl::InvalidArgumentError(absl::StrCat(file.path(), ": key 'tokenizer.ggml.token_type' holds ",
                                                     kinds->size(), " values, expected one per token, ",
                                                     tokens->size()));
    }
    for (size_t i = 0; i < kinds->size(); ++i) {
      const int64_t kind = (*kinds)[i];
      if (kind < 0 || kind > static_cast<int64_t>(TokenKind::kByte)) {
        return absl::InvalidArgumentError(absl::StrCat(file.path(), ": key 'tokenizer.ggml.token_type' holds ", kind,
                                                       " for token ", i, ", expected 0 to 6"));
      }
      vocabulary.kinds[i] = static_cast<TokenKind>(kind);
    }
  }
  // Only byte-level BPE needs merges; Tokenizer::Create knows the models.
  if (vocabulary.model == "gpt2") {
    LH_ASSIGN_OR_RETURN(const std::vector<std::string>* merges, file.Strings("tokenizer.ggml.merges"));
    vocabulary.merges = *merges;
  }

  const std::pair<std::string_view, std::optional<TokenId>*> ids[] = {
      {"tokenizer.ggml.bos_token_id", &vocabulary.bos},
      {"tokenizer.ggml.eos_token_id", &vocabulary.eos},
      {"tokenizer.ggml.eot_token_id", &vocabulary.eot},
      {"tokenizer.ggml.unknown_token_id", &vocabulary.unknown}};
  for (const auto& [key, id] : ids) {
    LH_ASSIGN_OR_RETURN(const std::optional<int64_t> value, file.OptionalInteger(key));
    if (!value) continue;
    if (*value < 0 || *value >= static_cast<int64_t>(tokens->size())) {
      return absl::InvalidArgumentError(absl::StrCat(file.path(), ": key ", Quoted(key), " holds ", *value,
                                                     ", expected a token of the vocabulary, 0 to ",
                                                     static_cast<int64_t>(tokens->size()) - 1));
    }
    *id = static_cast<TokenId>(*value);
  }

  // Files of Llama 3 leave add_bos_token out and mean true; the other tokenizers of this kind mean false.
  LH_ASSIGN_OR_RETURN(const std::optional<bool> add_bos, file.OptionalBool("tokenizer.ggml.add_bos_token"));
  vocabulary.add_bos = add_bos.value_or(vocabulary.pre_tokenizer == "llama-bpe") && vocabulary.bos.has_value();
  LH_ASSIGN_OR_RETURN(const std::optional<std::string> chat_template, file.OptionalString("tokenizer.chat_template"));
  vocabulary.chat_template = chat_template.value_or("");
  return vocabulary;
}

}  // namespace longhaul
