#include "engine/backend/tensor_type.h"

#include <array>

namespace longhaul {
namespace {

constexpr std::array<TensorTypeInfo, 12> kTypes = {{
    {TensorType::kF32, "F32", 1, 4, false},
    {TensorType::kF16, "F16", 1, 2, false},
    {TensorType::kBF16, "BF16", 1, 2, false},
    {TensorType::kQ4_0, "Q4_0", 32, 2 + 16, true},
    {TensorType::kQ4_1, "Q4_1", 32, 2 + 2 + 16, true},
    {TensorType::kQ5_0, "Q5_0", 32, 2 + 4 + 16, true},
    {TensorType::kQ5_1, "Q5_1", 32, 2 + 2 + 4 + 16, true},
    {TensorType::kIQ4_NL, "IQ4_NL", 32, 2 + 16, true},
    {TensorType::kQ8_0, "Q8_0", 32, 2 + 32, true},
    {TensorType::kQ4_K, "Q4_K", 256, 2 + 2 + 12 + 128, true},
    {TensorType::kQ5_K, "Q5_K", 256, 2 + 2 + 12 + 32 + 128, true},
    {TensorType::kQ6_K, "Q6_K", 256, 128 + 64 + 16 + 2, true},
}};

}  // namespace

std::optional<TensorType> TensorTypeFromNumber(uint32_t number) {
  for (const TensorTypeInfo& info : kTypes) {
    if (static_cast<uint32_t>(info.type) == number) return info.type;
  }
  return std::nullopt;
}

const TensorTypeInfo& Info(TensorType type) {
  for (const TensorTypeInfo& info : kTypes) {
    if (info.type == type) return info;
  }
  return kTypes[0];
}

}  // namespace longhaul
