#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace longhaul {

// Element types of tensors in model files, with GGUF's numbers.
enum class TensorType : uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ4_K = 12,
  kQ5_K = 13,
  kQ6_K = 14,
  kIQ4_NL = 20,
  kBF16 = 30,
};

// How a type lies in a file: rows are cut into blocks of `block_elements` elements in `block_bytes` bytes.
struct TensorTypeInfo {
  TensorType type;
  std::string_view name;  // "Q4_K"
  int64_t block_elements;
  int64_t block_bytes;
  bool quantized;  // blocks with scales, not plain floats
};

// The type with this GGUF number; none when it is not supported.
std::optional<TensorType> TensorTypeFromNumber(uint32_t number);

const TensorTypeInfo& Info(TensorType type);

// Bytes of one row of `elements`. REQUIRES: elements is a multiple of the type's block.
inline int64_t RowBytes(TensorType type, int64_t elements) {
  return elements / Info(type).block_elements * Info(type).block_bytes;
}

}  // namespace longhaul
