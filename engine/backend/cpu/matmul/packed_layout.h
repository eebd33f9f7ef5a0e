#pragma once

#include <cstdint>

namespace longhaul::cpu {

// How a panel (16 outputs, all of k) lies in memory. The layout is the same for every instruction set.
//
// Everything is interleaved in groups of 16 lanes of 32 bits, lane n for output n of the panel:
//   codes       a lane holds 4 consecutive codes of its output; a run of 32 elements takes 8 groups of byte codes,
//               or 4 of nibbles: the low nibbles of group j hold elements 4j.., the high ones 16 + 4j... One more
//               group holds the fifth bits, two more hold the fifth and sixth bits: of byte b of a lane, bit j for
//               element 4j + b; bits 2j and 2j + 1 for element 4j + b of the first group, 16 + 4j + b of the second
//   f32         a lane holds one element
//   bf16 pairs  a lane holds elements 2i (low half) and 2i + 1 (high half); an odd k ends with a zero
//   f16, bf16   16-bit lanes, widened as they are read
//
//   quantized panel = codes of all runs, scales of all runs, scales of all blocks of 256 (the K types), padding to 64
//   scales of a run   = Q4_0, Q5_0, IQ4_NL, Q8_0: f16 scale[16]     Q4_1, Q5_1: f16 scale[16], f16 min[16]
//                       Q4_K, Q5_K: u8 scale[16], u8 min[16]     Q6_K: s8 scale[16] of elements 0.., s8 scale[16]
//                       of 16..
//   scales of a block = Q4_K, Q5_K: f16 scale[16], f16 negated min[16]     Q6_K: f16 scale[16]
//
// Codes are unsigned; an element is scale * (code - zero_point) + min. The nibbles of IQ4_NL stay as they are: the
// reader looks their codes up.
inline constexpr int64_t kPanelOutputs = 16;
inline constexpr int64_t kGroupBytes = 64;

enum class PanelFormat : uint8_t {
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kIQ4_NL,
  kQ8_0,
  kQ4_K,
  kQ5_K,
  kQ6_K,
  kF32,
  kF16,
  kBf16,
  kBf16Pairs
};

constexpr bool IsQuantized(PanelFormat format) {
  return format <= PanelFormat::kQ6_K;
}
constexpr bool HasNibbles(PanelFormat format) {
  return format != PanelFormat::kQ8_0;
}
// Bits of a code above its nibble, in groups of their own.
constexpr int HighBits(PanelFormat format) {
  if (format == PanelFormat::kQ6_K) return 2;
  return format == PanelFormat::kQ5_0 || format == PanelFormat::kQ5_1 || format == PanelFormat::kQ5_K ? 1 : 0;
}
// The scales of a run are small integers times those of its block of 256.
constexpr bool HasBlockScales(PanelFormat format) {
  return format == PanelFormat::kQ4_K || format == PanelFormat::kQ5_K || format == PanelFormat::kQ6_K;
}
constexpr bool HasMin(PanelFormat format) {
  return format == PanelFormat::kQ4_1 || format == PanelFormat::kQ5_1 || format == PanelFormat::kQ4_K ||
         format == PanelFormat::kQ5_K;
}
constexpr int ZeroPoint(PanelFormat format) {
  switch (format) {
    case PanelFormat::kQ4_0:
      return 8;
    case PanelFormat::kQ5_0:
      return 16;
    case PanelFormat::kQ6_K:
      return 32;
    case PanelFormat::kQ8_0:
    case PanelFormat::kIQ4_NL:
      return 128;
    default:
      return 0;
  }
}
constexpr int MaxCode(PanelFormat format) {
  if (format == PanelFormat::kQ8_0 || format == PanelFormat::kIQ4_NL) return 255;
  return (16 << HighBits(format)) - 1;
}

constexpr int64_t RunCodeBytes(PanelFormat format) {
  return (HasNibbles(format) ? 4 + HighBits(format) : 8) * kGroupBytes;
}
constexpr int64_t RunScaleBytes(PanelFormat format) {
  return HasMin(format) && !HasBlockScales(format) ? 64 : 32;
}
constexpr int64_t BlockScaleBytes(PanelFormat format) {
  if (!HasBlockScales(format)) return 0;
  return HasMin(format) ? 64 : 32;
}

// Where the parts of a panel are, in bytes from its start.
struct PanelLayout {
  PanelFormat format = PanelFormat::kF32;
  int64_t columns = 0;
  int64_t run_scales = 0;
  int64_t block_scales = 0;
  int64_t bytes = 0;  // a multiple of 64
};

constexpr PanelLayout MakePanelLayout(PanelFormat format, int64_t columns) {
  PanelLayout layout;
  layout.format = format;
  layout.columns = columns;
  int64_t bytes = 0;
  if (IsQuantized(format)) {
    const int64_t runs = columns / 32;
    layout.run_scales = runs * RunCodeBytes(format);
    layout.block_scales = layout.run_scales + runs * RunScaleBytes(format);
    bytes = layout.block_scales + runs / 8 * BlockScaleBytes(format);
  } else if (format == PanelFormat::kF32) {
    bytes = columns * kGroupBytes;
  } else if (format == PanelFormat::kBf16Pairs) {
    bytes = (columns + 1) / 2 * kGroupBytes;
  } else {
    bytes = columns * kGroupBytes / 2;
  }
  layout.bytes = (bytes + 63) / 64 * 64;
  return layout;
}

}  // namespace longhaul::cpu
