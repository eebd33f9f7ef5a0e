#pragma once

#include <string_view>

#include "absl/status/statusor.h"

namespace longhaul {

// What activations are rounded to before a matmul.
enum class ComputeType { kAuto, kF32, kBf16, kInt8 };

// What keys and values are rounded to in the KV cache.
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

// kAuto becomes f32 where matmuls are f32, f16 where they are bf16, bf16 where they are int8. REQUIRES: `compute` is
// not kAuto.
CacheType ResolveCacheType(CacheType type, ComputeType compute);

}  // namespace longhaul
