#pragma once

#include <bit>
#include <cstdint>

namespace longhaul::cpu {

// The two 16-bit float formats, by integer arithmetic: equal on every CPU, denormals included.

// IEEE binary16.
inline float HalfToFloat(uint16_t half) {
  // The exponent moves from bias 15 to bias 127. Denormals come right by a subtraction, infinity and NaN by one more
  // step of the exponent.
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16;
  const uint32_t magnitude = half & 0x7fffu;
  const uint32_t shifted = magnitude << 13;
  uint32_t bits = shifted + ((127u - 15u) << 23);
  if (magnitude >= 0x7c00u) bits += (128u - 16u) << 23;
  if (magnitude < 0x0400u) {
    const uint32_t min_normal = (127u - 14u) << 23;
    bits = std::bit_cast<uint32_t>(std::bit_cast<float>(min_normal + shifted) - std::bit_cast<float>(min_normal));
  }
  return std::bit_cast<float>(sign | bits);
}

// The upper half of an f32.
inline float Bfloat16ToFloat(uint16_t value) {
  return std::bit_cast<float>(static_cast<uint32_t>(value) << 16);
}

// Rounds to nearest, ties to even; a NaN stays one.
inline uint16_t FloatToBfloat16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const uint32_t quiet_nan = (bits >> 16) | 0x40u;
  return static_cast<uint16_t>((bits & 0x7fffffffu) > 0x7f800000u ? quiet_nan : rounded);
}

// Rounds to nearest, ties to even; what is too large becomes infinity.
inline uint16_t FloatToHalf(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u);
  if (magnitude >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00u);
  if (magnitude < 0x38800000u) {
    // Below the least normal half: adding 0.5 leaves the rounded multiple of 2^-24 in the low bits.
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(shifted) - 0x3f000000u));
  }
  const uint32_t rounded = magnitude + 0xfffu + (magnitude >> 13 & 1u);
  return static_cast<uint16_t>(sign | ((rounded - 0x38000000u) >> 13));
}

}  // namespace longhaul::cpu
