#pragma once

#include <string_view>

#include "absl/status/statusor.h"

namespace longhaul {

// What activations are rounded to in matrix products.
enum class ComputeType { kAuto, kF32, kBf16, kInt8 };

// What keys and values are rounded to in the cache.
enum class CacheType { kAuto, kF32, kBf16, kF16 };

// "auto", "f32", "bf16", "int8" / "auto", "f32", "bf16", "f16".
std::string_view Name(ComputeType type);
std::string_view Name(CacheType type);

// The reverse; INVALID_ARGUMENT lists what is allowed.
absl::StatusOr<ComputeType> ParseComputeType(std::string_view name);
absl::StatusOr<CacheType> ParseCacheType(std::string_view name);

// kAuto becomes int8 where the layers' matrices are quantized, bf16 where they are float and the CPU has BF16
// instructions, else f32.
ComputeType ResolveComputeType(ComputeType type, bool layers_quantized, bool has_bf16);

// kAuto becomes f32 with f32 products, f16 with bf16 products, bf16 with int8. REQUIRES: `compute` is not kAuto.
CacheType ResolveCacheType(CacheType type, ComputeType compute);

}  // namespace longhaul
