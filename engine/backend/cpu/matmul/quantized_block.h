#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "engine/backend/cpu/half.h"
#include "engine/backend/tensor_type.h"

namespace longhaul::cpu {

// The blocks of GGUF's quantized types as they lie in a file, taken apart into runs of 32 elements:
//
//   value[i] = scale * (code[i] - zero_point) + min
//
// The types of GGUF that are not K types have one run a block; a code of IQ4_NL is an entry of a table. Q4_K, Q5_K and
// Q6_K have eight, and the scales of the runs are small integers times one f16 of the block; Q6_K has two such integers
// a run, one for each half.

inline uint16_t LoadU16(const uint8_t* at) {
  uint16_t value;
  std::memcpy(&value, at, sizeof(value));
  return value;
}

struct BlockQ4_0 {  // 18 bytes: f16 scale, 16 bytes of codes; byte i holds elements i (low) and i + 16 (high)
  static constexpr int64_t kBytes = 18, kScale = 0, kCodes = 2;
};
struct BlockQ4_1 {  // 20 bytes: f16 scale, f16 min, 16 bytes of codes as above
  static constexpr int64_t kBytes = 20, kScale = 0, kMin = 2, kCodes = 4;
};
struct BlockQ5_0 {  // 22 bytes: f16 scale, 32 fifth bits (bit i of the word for element i), codes as Q4_0
  static constexpr int64_t kBytes = 22, kScale = 0, kHighBits = 2, kCodes = 6;
};
struct BlockQ5_1 {  // 24 bytes: f16 scale, f16 min, fifth bits and codes as Q5_0
  static constexpr int64_t kBytes = 24, kScale = 0, kMin = 2, kHighBits = 4, kCodes = 8;
};
struct BlockIQ4_NL {  // 18 bytes, as Q4_0; a code is an index of kNonLinearCodes
  static constexpr int64_t kBytes = 18, kScale = 0, kCodes = 2;
};
struct BlockQ8_0 {  // 34 bytes: f16 scale, 32 signed codes
  static constexpr int64_t kBytes = 34, kScale = 0, kCodes = 2;
};
// f16 scale, f16 min, 12 bytes with eight 6-bit scales and eight 6-bit mins; Q5_K: 32 bytes of fifth bits, bit r of
// byte i for element i of run r; then 32 bytes of codes for every two runs: low nibbles the even run, high the odd one.
struct BlockQ4_K {
  static constexpr int64_t kBytes = 144, kScale = 0, kMin = 2, kRunScales = 4, kCodes = 16;
};
struct BlockQ5_K {
  static constexpr int64_t kBytes = 176, kScale = 0, kMin = 2, kRunScales = 4, kHighBits = 16, kCodes = 48;
};
// 128 bytes of low nibbles, 64 bytes of high bit pairs, 16 signed scales (one per 16 elements), f16 scale.
struct BlockQ6_K {
  static constexpr int64_t kBytes = 210, kCodes = 0, kHighBits = 128, kRunScales = 192, kScale = 208;
};

// The elements of IQ4_NL before they are scaled (ggml: kvalues_iq4nl), plus 128.
inline constexpr uint8_t kNonLinearCodes[16] = {1,   24,  45,  63,  79,  93,  106, 118,
                                                129, 141, 153, 166, 181, 197, 217, 241};

inline constexpr int64_t kRun = 32;  // elements that share a scale; the activations' block too

// The 6-bit scale and min of run r of a Q4_K or Q5_K block.
struct ScaleAndMin {
  uint8_t scale, min;
};
inline ScaleAndMin UnpackScaleAndMin(const uint8_t* packed, int64_t run) {
  if (run < 4) return {static_cast<uint8_t>(packed[run] & 63), static_cast<uint8_t>(packed[run + 4] & 63)};
  const uint8_t low = packed[run + 4];
  return {static_cast<uint8_t>((low & 15) | ((packed[run - 4] >> 2) & 0x30)),
          static_cast<uint8_t>((low >> 4) | ((packed[run] >> 2) & 0x30))};
}

// The unsigned codes of one run of a block of each type, one byte each.
inline void UnpackNibbles(const uint8_t* packed, uint8_t* codes) {  // Q4_0, Q4_1, IQ4_NL
  for (int64_t i = 0; i < 16; ++i) {
    codes[i] = packed[i] & 15;
    codes[i + 16] = packed[i] >> 4;
  }
}
inline void UnpackFiveBits(const uint8_t* high_bits, const uint8_t* packed, uint8_t* codes) {  // Q5_0, Q5_1
  uint32_t high;
  std::memcpy(&high, high_bits, sizeof(high));
  UnpackNibbles(packed, codes);
  for (int64_t i = 0; i < kRun; ++i) codes[i] = static_cast<uint8_t>(codes[i] | ((high >> i) & 1) << 4);
}
inline void UnpackRunQ4_K(const uint8_t* block, int64_t run, uint8_t* codes) {
  const uint8_t* packed = block + BlockQ4_K::kCodes + run / 2 * 32;
  const int shift = run % 2 == 0 ? 0 : 4;
  for (int64_t i = 0; i < kRun; ++i) codes[i] = (packed[i] >> shift) & 15;
}
inline void UnpackRunQ5_K(const uint8_t* block, int64_t run, uint8_t* codes) {
  const uint8_t* packed = block + BlockQ5_K::kCodes + run / 2 * 32;
  const uint8_t* high = block + BlockQ5_K::kHighBits;
  const int shift = run % 2 == 0 ? 0 : 4;
  for (int64_t i = 0; i < kRun; ++i) {
    codes[i] = static_cast<uint8_t>(((packed[i] >> shift) & 15) | (((high[i] >> run) & 1) << 4));
  }
}
inline void UnpackRunQ6_K(const uint8_t* block, int64_t run, uint8_t* codes) {
  // Each half of the block: 64 bytes of nibbles (low: runs 0 and 1, high: runs 2 and 3) and 32 bytes of bit pairs.
  const int64_t half = run / 4, quarter = run % 4;
  const uint8_t* packed = block + BlockQ6_K::kCodes + half * 64 + quarter % 2 * 32;
  const uint8_t* high = block + BlockQ6_K::kHighBits + half * 32;
  const int shift = quarter < 2 ? 0 : 4;
  for (int64_t i = 0; i < kRun; ++i) {
    codes[i] = static_cast<uint8_t>(((packed[i] >> shift) & 15) | (((high[i] >> (2 * quarter)) & 3) << 4));
  }
}

}  // namespace longhaul::cpu
