// Rounds activations for the matmuls: plain loops that the compiler vectorises for the target of the including file.

namespace longhaul::cpu {
namespace {

// One block of 32: scale = max|x| / 127, codes rounded to nearest even. A block whose scale is 0 (or subnormal) has the
// scale 0; one with a NaN or an infinity has the scale NaN, so that the fault shows in the result.
inline void QuantizeBlock(const float* in, int8_t* codes, RunSums* sums) {
  uint32_t magnitude = 0;  // of floats without their sign, the order of bits is the order of values; NaN is largest
  for (int i = 0; i < 32; ++i) magnitude = std::max(magnitude, std::bit_cast<uint32_t>(in[i]) & 0x7fffffffu);
  const bool finite = magnitude < 0x7f800000u;
  float scale = finite ? std::bit_cast<float>(magnitude) / 127.0f : std::numeric_limits<float>::quiet_NaN();
  float inverse = 0;
  if (scale >= std::numeric_limits<float>::min()) {
    inverse = 1.0f / scale;
  } else if (finite) {
    scale = 0;
  }
  int32_t low = 0, high = 0;
  for (int i = 0; i < 32; ++i) {
    const float x = finite ? in[i] * inverse : 0.0f;
    // Adding 1.5 * 2^23 leaves the rounded integer in the low bits.
    const int32_t code = std::bit_cast<int32_t>(x + 0x1.8p23f) - std::bit_cast<int32_t>(0x1.8p23f);
    codes[i] = static_cast<int8_t>(code);
    (i < 16 ? low : high) += code;
  }
  *sums = {scale, scale * static_cast<float>(low + high), {-8 * low, -8 * high}};
}

void QuantizeRows(const float* in, int64_t columns, int tile, int8_t* codes, RunSums* sums) {
  for (int r = 0; r < tile; ++r) {
    for (int64_t run = 0; run < columns / 32; ++run) {
      const int64_t unit = run * tile + r;
      QuantizeBlock(in + r * columns + run * 32, codes + unit * 32, sums + unit);
    }
  }
}

void RoundRows(const float* in, int64_t columns, int tile, uint32_t* pairs) {
  for (int r = 0; r < tile; ++r, in += columns) {
    for (int64_t i = 0; i < columns / 2; ++i) {
      const uint32_t even = FloatToBfloat16(in[2 * i]), odd = FloatToBfloat16(in[2 * i + 1]);
      pairs[i * tile + r] = even | odd << 16;
    }
    if (columns % 2 == 1) pairs[columns / 2 * tile + r] = FloatToBfloat16(in[columns - 1]);
  }
}

}  // namespace
}  // namespace longhaul::cpu
