#include "engine/backend/cpu/matmul/dequantize.h"

#include <cstring>

#include "engine/backend/cpu/half.h"
#include "engine/backend/cpu/matmul/quantized_block.h"

namespace longhaul::cpu {
namespace {

// Every product and every sum is rounded once, as in the reference: no fused multiply-add.

void ScaleRun(const uint8_t* codes, int64_t n, int zero_point, float scale, float* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = scale * static_cast<float>(codes[i] - zero_point);
}

void ScaleRun(const uint8_t* codes, float scale, float min, float* out) {
  for (int64_t i = 0; i < kRun; ++i) out[i] = scale * static_cast<float>(codes[i]) + min;
}

void DequantizeQ4_0(const uint8_t* block, float* out) {
  uint8_t codes[kRun];
  UnpackNibbles(block + BlockQ4_0::kCodes, codes);
  ScaleRun(codes, kRun, 8, HalfToFloat(LoadU16(block + BlockQ4_0::kScale)), out);
}

void DequantizeQ4_1(const uint8_t* block, float* out) {
  uint8_t codes[kRun];
  UnpackNibbles(block + BlockQ4_1::kCodes, codes);
  ScaleRun(codes, HalfToFloat(LoadU16(block + BlockQ4_1::kScale)), HalfToFloat(LoadU16(block + BlockQ4_1::kMin)), out);
}

void DequantizeQ5_0(const uint8_t* block, float* out) {
  uint8_t codes[kRun];
  UnpackFiveBits(block + BlockQ5_0::kHighBits, block + BlockQ5_0::kCodes, codes);
  ScaleRun(codes, kRun, 16, HalfToFloat(LoadU16(block + BlockQ5_0::kScale)), out);
}

void DequantizeQ5_1(const uint8_t* block, float* out) {
  uint8_t codes[kRun];
  UnpackFiveBits(block + BlockQ5_1::kHighBits, block + BlockQ5_1::kCodes, codes);
  ScaleRun(codes, HalfToFloat(LoadU16(block + BlockQ5_1::kScale)), HalfToFloat(LoadU16(block + BlockQ5_1::kMin)), out);
}

void DequantizeIQ4_NL(const uint8_t* block, float* out) {
  uint8_t codes[kRun];
  UnpackNibbles(block + BlockIQ4_NL::kCodes, codes);
  for (uint8_t& code : codes) code = kNonLinearCodes[code];
  ScaleRun(codes, kRun, 128, HalfToFloat(LoadU16(block + BlockIQ4_NL::kScale)), out);
}

void DequantizeQ8_0(const uint8_t* block, float* out) {
  const float scale = HalfToFloat(LoadU16(block + BlockQ8_0::kScale));
  for (int64_t i = 0; i < kRun; ++i)
    out[i] = scale * static_cast<float>(static_cast<int8_t>(block[BlockQ8_0::kCodes + i]));
}

// Q4_K and Q5_K begin alike.
void DequantizeWithMins(const uint8_t* block, void (*unpack)(const uint8_t*, int64_t, uint8_t*), float* out) {
  const float scale = HalfToFloat(LoadU16(block + BlockQ4_K::kScale));
  const float min = HalfToFloat(LoadU16(block + BlockQ4_K::kMin));
  for (int64_t run = 0; run < 8; ++run) {
    uint8_t codes[kRun];
    unpack(block, run, codes);
    const ScaleAndMin of_run = UnpackScaleAndMin(block + BlockQ4_K::kRunScales, run);
    ScaleRun(codes, scale * static_cast<float>(of_run.scale), -(min * static_cast<float>(of_run.min)),
             out + run * kRun);
  }
}

void DequantizeQ4_K(const uint8_t* block, float* out) {
  DequantizeWithMins(block, UnpackRunQ4_K, out);
}

void DequantizeQ5_K(const uint8_t* block, float* out) {
  DequantizeWithMins(block, UnpackRunQ5_K, out);
}

void DequantizeQ6_K(const uint8_t* block, float* out) {
  const float scale = HalfToFloat(LoadU16(block + BlockQ6_K::kScale));
  for (int64_t run = 0; run < 8; ++run) {
    uint8_t codes[kRun];
    UnpackRunQ6_K(block, run, codes);
    for (int64_t half = 0; half < 2; ++half) {
      const auto of_half = static_cast<int8_t>(block[BlockQ6_K::kRunScales + run * 2 + half]);
      ScaleRun(codes + half * 16, 16, 32, scale * static_cast<float>(of_half), out + run * kRun + half * 16);
    }
  }
}

void DequantizeBlocks(TensorType type, const uint8_t* row, int64_t elements, void (*block)(const uint8_t*, float*),
                      float* out) {
  const TensorTypeInfo& info = Info(type);
  for (int64_t i = 0; i < elements / info.block_elements; ++i) {
    block(row + i * info.block_bytes, out + i * info.block_elements);
  }
}

}  // namespace

void DequantizeRow(TensorType type, const std::byte* row, int64_t elements, float* out) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(row);
  switch (type) {
    case TensorType::kF32:
      std::memcpy(out, row, static_cast<size_t>(elements) * sizeof(float));
      return;
    case TensorType::kF16:
      for (int64_t i = 0; i < elements; ++i) out[i] = HalfToFloat(LoadU16(bytes + 2 * i));
      return;
    case TensorType::kBF16:
      for (int64_t i = 0; i < elements; ++i) out[i] = Bfloat16ToFloat(LoadU16(bytes + 2 * i));
      return;
    case TensorType::kQ4_0:
      return DequantizeBlocks(type, bytes, elements, DequantizeQ4_0, out);
    case TensorType::kQ4_1:
      return DequantizeBlocks(type, bytes, elements, DequantizeQ4_1, out);
    case TensorType::kQ5_0:
      return DequantizeBlocks(type, bytes, elements, DequantizeQ5_0, out);
    case TensorType::kQ5_1:
      return DequantizeBlocks(type, bytes, elements, DequantizeQ5_1, out);
    case TensorType::kIQ4_NL:
      return DequantizeBlocks(type, bytes, elements, DequantizeIQ4_NL, out);
    case TensorType::kQ8_0:
      return DequantizeBlocks(type, bytes, elements, DequantizeQ8_0, out);
    case TensorType::kQ4_K:
      return DequantizeBlocks(type, bytes, elements, DequantizeQ4_K, out);
    case TensorType::kQ5_K:
      return DequantizeBlocks(type, bytes, elements, DequantizeQ5_K, out);
    case TensorType::kQ6_K:
      return DequantizeBlocks(type, bytes, elements, DequantizeQ6_K, out);
  }
}

}  // namespace longhaul::cpu
