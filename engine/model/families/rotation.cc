#include "engine/model/families/rotation.h"

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/base/quoted.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"

namespace longhaul {
namespace {

// Bounds later arithmetic; no published model comes near.
constexpr int64_t kMaxContextLength = 1 << 30;

// A table of what each theta_i is divided by; empty when the file has none.
absl::StatusOr<std::vector<float>> ReadPairFactors(const Checkpoint& checkpoint, std::string_view name,
                                                   int64_t rotary_dims) {
  const TensorEntry* tensor = checkpoint.Find(name);
  if (tensor == nullptr) return std::vector<float>();
  const auto error = [&](const auto&... parts) {
    return absl::InvalidArgumentError(absl::StrCat(checkpoint.path(), ": tensor ", Quoted(name), " ", parts...));
  };
  if (tensor->type != TensorType::kF32) {
    return error("has type ", ToAbsl(Info(tensor->type).name), ", expected F32");
  }
  if (tensor->dims.size() != 1 || tensor->elements != rotary_dims / 2) {
    return error("has ", tensor->elements, " elements in ", tensor->dims.size(), " dimensions, expected ",
                 rotary_dims / 2, " in 1 (half of the rotary dimensions)");
  }
  std::vector<float> factors(static_cast<size_t>(tensor->elements));
  LH_RETURN_IF_ERROR(checkpoint.source().Read(tensor->offset, std::as_writable_bytes(std::span(factors))));
  constexpr float kMin = 1e-6f, kMax = 1e6f;
  for (const float factor : factors) {
    if (!(factor >= kMin && factor <= kMax)) {
      return error("holds ", factor, ", expected numbers from ", kMin, " to ", kMax);
    }
  }
  return factors;
}

absl::Status ReadDeclaredScaling(const Checkpoint& checkpoint, const Keys& keys, ModelRotation& rotation) {
  constexpr double kMaxFactor = 1e6;
  // scale_linear is the older name. 0 stands for none.
  const std::string_view suffix = keys.Has("rope.scaling.factor") ? "rope.scaling.factor" : "rope.scale_linear";
  LH_ASSIGN_OR_RETURN(const double factor, keys.Number(suffix, 0, kMaxFactor, 0));
  LH_ASSIGN_OR_RETURN(const std::optional<std::string> type, checkpoint.OptionalString(keys.Key("rope.scaling.type")));
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

}  // namespace

absl::StatusOr<ModelRotation> ReadRotation(const Checkpoint& checkpoint, const Keys& keys, int64_t head_dim) {
  ModelRotation rotation;
  LH_ASSIGN_OR_RETURN(rotation.trained_length, keys.Integer("context_length", 1, kMaxContextLength));
  LH_ASSIGN_OR_RETURN(rotation.rotary_dims, keys.Integer("rope.dimension_count", 2, head_dim, head_dim));
  if (rotation.rotary_dims % 2 != 0) {
    return keys.Error("rope.dimension_count", rotation.rotary_dims, ", expected an even number");
  }
  LH_ASSIGN_OR_RETURN(rotation.base, keys.Number("rope.freq_base", 2, 1e15, 10000));
  LH_RETURN_IF_ERROR(ReadDeclaredScaling(checkpoint, keys, rotation));
  LH_ASSIGN_OR_RETURN(rotation.pair_factors, ReadPairFactors(checkpoint, "rope_freqs.weight", rotation.rotary_dims));
  LH_ASSIGN_OR_RETURN(rotation.long_factors,
                      ReadPairFactors(checkpoint, "rope_factors_long.weight", rotation.rotary_dims));
  return rotation;
}

}  // namespace longhaul
