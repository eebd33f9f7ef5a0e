#include "engine/backend/cpu/matmul/panel_writer.h"

#include <cstring>

#include "engine/backend/cpu/half.h"
#include "engine/backend/cpu/matmul/quantized_block.h"

namespace longhaul::cpu {
namespace {

void StoreU16(uint16_t value, uint8_t* at) {
  std::memcpy(at, &value, sizeof(value));
}

// One output's codes, groups of 4 bytes, into its lane of consecutive groups.
void ScatterCodes(const uint8_t* codes, int64_t groups, uint8_t* lane) {
  for (int64_t g = 0; g < groups; ++g) std::memcpy(lane + g * kGroupBytes, codes + g * 4, 4);
}

// Byte codes of a run into nibbles: element i and i + 16 share a byte.
void ScatterNibbles(const uint8_t* codes, uint8_t* lane) {
  uint8_t packed[16];
  for (int64_t i = 0; i < 16; ++i) packed[i] = static_cast<uint8_t>(codes[i] | (codes[i + 16] << 4));
  ScatterCodes(packed, 4, lane);
}

// Codes of 4 + kHighBits bits of a run: nibbles, then the groups of high bits.
template <int kHighBits>
void ScatterWithHighBits(const uint8_t* codes, uint8_t* lane) {
  uint8_t nibbles[kRun], high[4 * kHighBits] = {};
  for (int64_t i = 0; i < kRun; ++i) {
    nibbles[i] = codes[i] & 15;
    const int64_t bit = i / 4 * kHighBits;
    uint8_t& byte = high[bit / 8 * 4 + i % 4];
    byte = static_cast<uint8_t>(byte | (codes[i] >> 4) << (bit % 8));
  }
  ScatterNibbles(nibbles, lane);
  ScatterCodes(high, kHighBits, lane + 4 * kGroupBytes);
}

// Writers of output n of a panel from its row.

// Types of one run a block whose scales are an f16 and, in some, an f16 min after it.
template <PanelFormat kFormat, class Block>
void WriteRuns(const PanelLayout& layout, const uint8_t* row, int64_t n, uint8_t* panel) {
  for (int64_t run = 0; run < layout.columns / kRun; ++run, row += Block::kBytes) {
    uint8_t* lane = panel + run * RunCodeBytes(kFormat) + n * 4;
    if constexpr (HighBits(kFormat) > 0) {
      uint8_t codes[kRun];
      UnpackFiveBits(row + Block::kHighBits, row + Block::kCodes, codes);
      ScatterWithHighBits<HighBits(kFormat)>(codes, lane);
    } else {
      ScatterCodes(row + Block::kCodes, 4, lane);
    }
    uint8_t* scales = panel + layout.run_scales + run * RunScaleBytes(kFormat) + n * 2;
    StoreU16(LoadU16(row + Block::kScale), scales);
    if constexpr (HasMin(kFormat)) StoreU16(LoadU16(row + Block::kMin), scales + 32);
  }
}

void WriteQ8_0(const PanelLayout& layout, const uint8_t* row, int64_t n, uint8_t* panel) {
  for (int64_t run = 0; run < layout.columns / kRun; ++run, row += BlockQ8_0::kBytes) {
    uint8_t codes[kRun];
    for (int64_t i = 0; i < kRun; ++i) codes[i] = row[BlockQ8_0::kCodes + i] ^ 0x80u;  // + 128
    ScatterCodes(codes, 8, panel + run * RunCodeBytes(PanelFormat::kQ8_0) + n * 4);
    StoreU16(LoadU16(row + BlockQ8_0::kScale), panel + layout.run_scales + run * 32 + n * 2);
  }
}

// Q4_K and Q5_K.
template <PanelFormat kFormat>
void WriteWithMins(const PanelLayout& layout, const uint8_t* row, int64_t n, uint8_t* panel) {
  constexpr int64_t kBytes = kFormat == PanelFormat::kQ4_K ? BlockQ4_K::kBytes : BlockQ5_K::kBytes;
  for (int64_t block = 0; block < layout.columns / 256; ++block, row += kBytes) {
    for (int64_t r = 0; r < 8; ++r) {
      const int64_t run = block * 8 + r;
      uint8_t* lane = panel + run * RunCodeBytes(kFormat) + n * 4;
      uint8_t codes[kRun];
      if constexpr (kFormat == PanelFormat::kQ4_K) {
        UnpackRunQ4_K(row, r, codes);
        ScatterNibbles(codes, lane);
      } else {
        UnpackRunQ5_K(row, r, codes);
        ScatterWithHighBits<1>(codes, lane);
      }
      const ScaleAndMin of_run = UnpackScaleAndMin(row + BlockQ4_K::kRunScales, r);
      uint8_t* scales = panel + layout.run_scales + run * 32 + n;
      scales[0] = of_run.scale;
      scales[16] = of_run.min;
    }
    uint8_t* scales = panel + layout.block_scales + block * 64 + n * 2;
    StoreU16(LoadU16(row + BlockQ4_K::kScale), scales);
    StoreU16(LoadU16(row + BlockQ4_K::kMin) ^ 0x8000u, scales + 32);
  }
}

void WriteQ6_K(const PanelLayout& layout, const uint8_t* row, int64_t n, uint8_t* panel) {
  for (int64_t block = 0; block < layout.columns / 256; ++block, row += BlockQ6_K::kBytes) {
    for (int64_t r = 0; r < 8; ++r) {
      const int64_t run = block * 8 + r;
      uint8_t codes[kRun];
      UnpackRunQ6_K(row, r, codes);
      ScatterWithHighBits<2>(codes, panel + run * RunCodeBytes(PanelFormat::kQ6_K) + n * 4);
      uint8_t* scales = panel + layout.run_scales + run * 32 + n;
      scales[0] = row[BlockQ6_K::kRunScales + 2 * r];
      scales[16] = row[BlockQ6_K::kRunScales + 2 * r + 1];
    }
    StoreU16(LoadU16(row + BlockQ6_K::kScale), panel + layout.block_scales + block * 32 + n * 2);
  }
}

// Element k of a float row as bf16.
uint16_t Bfloat16At(TensorType type, const uint8_t* row, int64_t k) {
  if (type == TensorType::kBF16) return LoadU16(row + 2 * k);
  if (type == TensorType::kF16) return FloatToBfloat16(HalfToFloat(LoadU16(row + 2 * k)));
  float value;
  std::memcpy(&value, row + 4 * k, sizeof(value));
  return FloatToBfloat16(value);
}

void WritePairs(const PanelLayout& layout, TensorType type, const uint8_t* row, int64_t n, uint8_t* panel) {
  for (int64_t k = 0; k < layout.columns; ++k) {
    StoreU16(Bfloat16At(type, row, k), panel + k / 2 * kGroupBytes + n * 4 + k % 2 * 2);
  }
}

void WriteElements(const PanelLayout& layout, int64_t element_bytes, const uint8_t* row, int64_t n, uint8_t* panel) {
  for (int64_t k = 0; k < layout.columns; ++k) {
    std::memcpy(panel + (k * kPanelOutputs + n) * element_bytes, row + k * element_bytes,
                static_cast<size_t>(element_bytes));
  }
}

}  // namespace

void WritePanel(const PanelLayout& layout, TensorType type, const uint8_t* const rows[kPanelOutputs], uint8_t* panel) {
  std::memset(panel, 0, static_cast<size_t>(layout.bytes));
  for (int64_t n = 0; n < kPanelOutputs; ++n) {
    const uint8_t* row = rows[n];
    if (row == nullptr) continue;
    switch (layout.format) {
      case PanelFormat::kQ4_0:
        WriteRuns<PanelFormat::kQ4_0, BlockQ4_0>(layout, row, n, panel);
        break;
      case PanelFormat::kQ4_1:
        WriteRuns<PanelFormat::kQ4_1, BlockQ4_1>(layout, row, n, panel);
        break;
      case PanelFormat::kQ5_0:
        WriteRuns<PanelFormat::kQ5_0, BlockQ5_0>(layout, row, n, panel);
        break;
      case PanelFormat::kQ5_1:
        WriteRuns<PanelFormat::kQ5_1, BlockQ5_1>(layout, row, n, panel);
        break;
      case PanelFormat::kIQ4_NL:
        WriteRuns<PanelFormat::kIQ4_NL, BlockIQ4_NL>(layout, row, n, panel);
        break;
      case PanelFormat::kQ8_0:
        WriteQ8_0(layout, row, n, panel);
        break;
      case PanelFormat::kQ4_K:
        WriteWithMins<PanelFormat::kQ4_K>(layout, row, n, panel);
        break;
      case PanelFormat::kQ5_K:
        WriteWithMins<PanelFormat::kQ5_K>(layout, row, n, panel);
        break;
      case PanelFormat::kQ6_K:
        WriteQ6_K(layout, row, n, panel);
        break;
      case PanelFormat::kF32:
        WriteElements(layout, 4, row, n, panel);
        break;
      case PanelFormat::kF16:
      case PanelFormat::kBf16:
        WriteElements(layout, 2, row, n, panel);
        break;
      case PanelFormat::kBf16Pairs:
        WritePairs(layout, type, row, n, panel);
        break;
    }
  }
}

}  // namespace longhaul::cpu
