#include "engine/backend/types.h"

#include "absl/strings/str_cat.h"
#include "engine/base/strings.h"

namespace longhaul {

std::string_view Name(ComputeType type) {
  switch (type) {
    case ComputeType::kAuto:
      return "auto";
    case ComputeType::kF32:
      return "f32";
    case ComputeType::kBf16:
      return "bf16";
    case ComputeType::kInt8:
      return "int8";
  }
  return "unknown";
}

std::string_view Name(CacheType type) {
  switch (type) {
    case CacheType::kAuto:
      return "auto";
    case CacheType::kF32:
      return "f32";
    case CacheType::kBf16:
      return "bf16";
    case CacheType::kF16:
      return "f16";
  }
  return "unknown";
}

absl::StatusOr<ComputeType> ParseComputeType(std::string_view name) {
  for (ComputeType type : {ComputeType::kAuto, ComputeType::kF32, ComputeType::kBf16, ComputeType::kInt8}) {
    if (name == Name(type)) return type;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("compute type '", ToAbsl(name), "' is not one of auto, f32, bf16, int8"));
}

absl::StatusOr<CacheType> ParseCacheType(std::string_view name) {
  for (CacheType type : {CacheType::kAuto, CacheType::kF32, CacheType::kBf16, CacheType::kF16}) {
    if (name == Name(type)) return type;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("KV cache type '", ToAbsl(name), "' is not one of auto, f32, bf16, f16"));
}

ComputeType ResolveComputeType(ComputeType type, bool layers_quantized, bool has_bf16) {
  if (type != ComputeType::kAuto) return type;
  if (layers_quantized) return ComputeType::kInt8;
  return has_bf16 ? ComputeType::kBf16 : ComputeType::kF32;
}

CacheType ResolveCacheType(CacheType type, ComputeType compute) {
  if (type != CacheType::kAuto) return type;
  switch (compute) {
    case ComputeType::kBf16:
      return CacheType::kF16;
    case ComputeType::kInt8:
      return CacheType::kBf16;
    default:
      return CacheType::kF32;
  }
}

}  // namespace longhaul
