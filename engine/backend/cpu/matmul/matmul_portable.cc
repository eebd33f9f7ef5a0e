#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "engine/backend/cpu/half.h"
#include "engine/backend/cpu/matmul/matmul_kernels.h"
#include "engine/backend/cpu/matmul/quantized_block.h"
#include "engine/backend/cpu/target_region.h"

namespace longhaul::cpu {
namespace {

template <typename T>
struct Lanes16 {
  T lane[16];
};

// As in lanes_avx512.h: 16 lanes as arrays, for any CPU.
struct Lanes {
  using F = Lanes16<float>;
  using I = Lanes16<uint32_t>;
  static constexpr int kInt8Tile = 2;
  static constexpr int kFloatTile = 1;

  template <class Result, class Function>
  LH_INLINE static Result Each(Function function) {
    Result result;
    for (int n = 0; n < 16; ++n) result.lane[n] = function(n);
    return result;
  }
  template <typename T, class Result>
  LH_INLINE static Result Load(const void* at) {
    T values[16];
    std::memcpy(values, at, sizeof(values));
    return Each<Result>(
        [&](int n) { return static_cast<std::remove_reference_t<decltype(Result().lane[0])>>(values[n]); });
  }

  LH_INLINE static F Zero() { return {}; }
  LH_INLINE static F LoadF(const void* at) { return Load<float, F>(at); }
  LH_INLINE static I LoadI(const void* at) { return Load<uint32_t, I>(at); }
  LH_INLINE static void StoreF(F value, void* at) { std::memcpy(at, value.lane, sizeof(value.lane)); }
  LH_INLINE static F BroadcastF(const float* at) {
    return Each<F>([value = *at](int) { return value; });
  }
  LH_INLINE static I BroadcastI(const void* at) {
    uint32_t value;
    std::memcpy(&value, at, sizeof(value));
    return Each<I>([value](int) { return value; });
  }
  LH_INLINE static I SetI(int32_t value) {
    return Each<I>([value](int) { return static_cast<uint32_t>(value); });
  }

  LH_INLINE static F LoadHalf(const void* at) {
    const I halves = LoadU16(at);
    return Each<F>([&](int n) { return HalfToFloat(static_cast<uint16_t>(halves.lane[n])); });
  }
  LH_INLINE static I LoadU16(const void* at) { return Load<uint16_t, I>(at); }
  LH_INLINE static I LoadU8(const void* at) { return Load<uint8_t, I>(at); }
  LH_INLINE static I LoadS8(const void* at) { return Load<int8_t, I>(at); }

  LH_INLINE static F ToFloat(I value) {
    return Each<F>([&](int n) { return static_cast<float>(static_cast<int32_t>(value.lane[n])); });
  }
  LH_INLINE static F AsFloat(I value) { return std::bit_cast<F>(value); }
  LH_INLINE static F Mul(F a, F b) {
    return Each<F>([&](int n) { return a.lane[n] * b.lane[n]; });
  }
  LH_INLINE static F Add(F a, F b) {
    return Each<F>([&](int n) { return a.lane[n] + b.lane[n]; });
  }
  LH_INLINE static F Fma(F a, F b, F sum) {
    return Each<F>([&](int n) { return std::fma(a.lane[n], b.lane[n], sum.lane[n]); });
  }
  // The product is rounded before it is added: a fused one in software would take a hundred times as long.
  LH_INLINE static F MulAdd(F a, F b, F sum) {
    return Each<F>([&](int n) { return a.lane[n] * b.lane[n] + sum.lane[n]; });
  }

  LH_INLINE static I AddI(I a, I b) {
    return Each<I>([&](int n) { return a.lane[n] + b.lane[n]; });
  }
  LH_INLINE static I MulI(I a, I b) {
    return Each<I>([&](int n) { return a.lane[n] * b.lane[n]; });
  }
  LH_INLINE static I And(I a, I b) {
    return Each<I>([&](int n) { return a.lane[n] & b.lane[n]; });
  }
  LH_INLINE static I Or(I a, I b) {
    return Each<I>([&](int n) { return a.lane[n] | b.lane[n]; });
  }
  LH_INLINE static I LookUp(const uint8_t* table, I indices) {
    return Each<I>([&](int n) {
      uint32_t found = 0;
      for (int byte = 0; byte < 4; ++byte) {
        found |= static_cast<uint32_t>(table[(indices.lane[n] >> (8 * byte)) & 15u]) << (8 * byte);
      }
      return found;
    });
  }
  template <int kBits>
  LH_INLINE static I ShiftRight(I value) {
    return Each<I>([&](int n) { return value.lane[n] >> kBits; });
  }
  template <int kBits>
  LH_INLINE static I ShiftLeft(I value) {
    return Each<I>([&](int n) { return value.lane[n] << kBits; });
  }
};

struct PortableDot {
  template <int kMaxCode>
  LH_INLINE static Lanes::I Step(Lanes::I sum, Lanes::I codes, Lanes::I x) {
    return Lanes::Each<Lanes::I>([&](int n) {
      int32_t products = 0;
      for (int byte = 0; byte < 4; ++byte) {
        const auto code = static_cast<int32_t>((codes.lane[n] >> (8 * byte)) & 255u);
        products += code * static_cast<int8_t>(x.lane[n] >> (8 * byte));
      }
      return sum.lane[n] + static_cast<uint32_t>(products);
    });
  }
};

}  // namespace
}  // namespace longhaul::cpu

#include "engine/backend/cpu/matmul/panel_reader-inl.h"

#include "engine/backend/cpu/matmul/activations-inl.h"
#include "engine/backend/cpu/matmul/matmul_float-inl.h"
#include "engine/backend/cpu/matmul/matmul_int8-inl.h"

namespace longhaul::cpu {

const MatmulKernels& PortableKernels() {
  static const MatmulKernels kernels = {Lanes::kInt8Tile,        Lanes::kFloatTile,    QuantizeRows,         RoundRows,
                                        Int8Matmul<PortableDot>, FloatMatmul<F32Step>, FloatMatmul<Bf16Step>};
  return kernels;
}

}  // namespace longhaul::cpu
