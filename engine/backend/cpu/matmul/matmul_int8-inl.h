// The int8 matmuls in Lanes and a Dot: Dot::Step<max code>(sum, codes, x) adds to each lane the four products of its
// unsigned codes with the signed bytes of x, exactly. Included as panel_reader-inl.h, which comes first.
//
// The order of summation of an output, whatever the tile: for each run of 32 in the order of k
//   sum = fma(float(isum), scale of the weights * scale of the activations, sum)
//   sum = fma(min of the weights, scaled sum of the activations, sum)              where the format has a min
// with isum = sum of (code - zero point) * x, exact in 32 bits.

namespace longhaul::cpu {
namespace {

LH_INLINE void StoreLanes(Lanes::F lanes, float* at, int64_t outputs, Epilogue epilogue) {
  if (outputs == kPanelOutputs) {
    if (epilogue == Epilogue::kAdd) lanes = Lanes::Add(Lanes::LoadF(at), lanes);
    Lanes::StoreF(lanes, at);
    return;
  }
  float values[kPanelOutputs];
  Lanes::StoreF(lanes, values);
  for (int64_t n = 0; n < outputs; ++n) at[n] = epilogue == Epilogue::kAdd ? at[n] + values[n] : values[n];
}

// What the zero point adds to the sum over half a run: -zero_point * (sum of its activations).
template <PanelFormat kFormat>
LH_INLINE Lanes::I StartSum(const int32_t* minus_8_sum) {
  if constexpr (ZeroPoint(kFormat) == 0) return Lanes::SetI(0);
  const Lanes::I start = Lanes::BroadcastI(minus_8_sum);
  if constexpr (ZeroPoint(kFormat) == 16) return Lanes::template ShiftLeft<1>(start);
  if constexpr (ZeroPoint(kFormat) == 32) return Lanes::template ShiftLeft<2>(start);
  if constexpr (ZeroPoint(kFormat) == 128) return Lanes::template ShiftLeft<4>(start);
  return start;
}

// The first tile of a panel waits for memory, and the hardware prefetcher stops at the end of a page: prefetches what
// is read some microseconds later, in this panel or, past its end, in the next ones.
template <PanelFormat kFormat>
LH_INLINE void PrefetchRun(const uint8_t* panel, int64_t run) {
  constexpr int64_t kAhead = 8192;
  constexpr int64_t kRunBytes = RunCodeBytes(kFormat) + RunScaleBytes(kFormat) + BlockScaleBytes(kFormat) / 8;
  const uint8_t* at = panel + kAhead + run * kRunBytes;
  for (int64_t line = 0; line < (kRunBytes + 63) / 64; ++line) __builtin_prefetch(at + line * 64, 0, 2);
}

template <class Dot, PanelFormat kFormat, int kRows, bool kPrefetch>
void Int8Tile(const PanelLayout& layout, const uint8_t* panel, int64_t runs, const int8_t* x, const RunSums* sums,
              float* out, int64_t stride, int64_t outputs, Epilogue epilogue) {
  constexpr int kMax = MaxCode(kFormat);
  Lanes::F sum[kRows];
  for (int r = 0; r < kRows; ++r) sum[r] = Lanes::Zero();
  for (int64_t run = 0; run < runs; ++run) {
    Lanes::I codes[8];
    if constexpr (kPrefetch) PrefetchRun<kFormat>(panel, run);
    LoadCodes<kFormat>(panel + run * RunCodeBytes(kFormat), codes);
    const RunScales scales = LoadScales<kFormat>(layout, panel, run);
#pragma GCC unroll 12
    for (int r = 0; r < kRows; ++r, x += 32, ++sums) {
      Lanes::I low = StartSum<kFormat>(&sums->minus_8_sum[0]);
      Lanes::I high = StartSum<kFormat>(&sums->minus_8_sum[1]);
      for (int j = 0; j < 4; ++j) {
        low = Dot::template Step<kMax>(low, codes[j], Lanes::BroadcastI(x + 4 * j));
        high = Dot::template Step<kMax>(high, codes[j + 4], Lanes::BroadcastI(x + 16 + 4 * j));
      }
      if constexpr (kFormat == PanelFormat::kQ6_K) {
        low = Lanes::MulI(low, scales.of_half[0]);
        high = Lanes::MulI(high, scales.of_half[1]);
      }
      const Lanes::F scale = Lanes::Mul(scales.scale, Lanes::BroadcastF(&sums->scale));
      sum[r] = Lanes::Fma(Lanes::ToFloat(Lanes::AddI(low, high)), scale, sum[r]);
      if constexpr (HasMin(kFormat)) sum[r] = Lanes::Fma(scales.min, Lanes::BroadcastF(&sums->scaled_sum), sum[r]);
    }
  }
  for (int r = 0; r < kRows; ++r) StoreLanes(sum[r], out + r * stride, outputs, epilogue);
}

template <class Dot, PanelFormat kFormat>
void Int8Panels(const PanelRange& panels, const Int8Rows& rows, const Output& out) {
  for (int64_t p = panels.first; p < panels.first + panels.panels; ++p) {
    const uint8_t* panel = panels.data + p * panels.layout->bytes;
    const int64_t first_output = p * kPanelOutputs;
    const int64_t outputs = std::min(kPanelOutputs, out.outputs - first_output);
    for (int64_t r = rows.first_row; r < rows.first_row + rows.rows;) {
      const int tile = TileRows(rows.first_row + rows.rows - r, Lanes::kInt8Tile);
      const auto run_tile = [&]<int kRows>() {
        constexpr int kTile = std::min(kRows, Lanes::kInt8Tile);
        // The first tile that reads a panel brings it into the cache.
        const auto kernel =
            r == rows.first_row ? Int8Tile<Dot, kFormat, kTile, true> : Int8Tile<Dot, kFormat, kTile, false>;
        kernel(*panels.layout, panel, rows.runs, rows.codes + r * rows.runs * 32, rows.sums + r * rows.runs,
               out.data + r * out.stride + first_output, out.stride, outputs, out.epilogue);
      };
      switch (tile) {
        case 1:
          run_tile.template operator()<1>();
          break;
        case 2:
          run_tile.template operator()<2>();
          break;
        case 4:
          run_tile.template operator()<4>();
          break;
        case 8:
          run_tile.template operator()<8>();
          break;
        default:
          run_tile.template operator()<12>();
          break;
      }
      r += tile;
    }
  }
}

template <class Dot>
void Int8Matmul(const PanelRange& panels, const Int8Rows& rows, const Output& out) {
  switch (panels.layout->format) {
    case PanelFormat::kQ4_0:
      return Int8Panels<Dot, PanelFormat::kQ4_0>(panels, rows, out);
    case PanelFormat::kQ4_1:
      return Int8Panels<Dot, PanelFormat::kQ4_1>(panels, rows, out);
    case PanelFormat::kQ5_0:
      return Int8Panels<Dot, PanelFormat::kQ5_0>(panels, rows, out);
    case PanelFormat::kQ5_1:
      return Int8Panels<Dot, PanelFormat::kQ5_1>(panels, rows, out);
    case PanelFormat::kIQ4_NL:
      return Int8Panels<Dot, PanelFormat::kIQ4_NL>(panels, rows, out);
    case PanelFormat::kQ8_0:
      return Int8Panels<Dot, PanelFormat::kQ8_0>(panels, rows, out);
    case PanelFormat::kQ4_K:
      return Int8Panels<Dot, PanelFormat::kQ4_K>(panels, rows, out);
    case PanelFormat::kQ5_K:
      return Int8Panels<Dot, PanelFormat::kQ5_K>(panels, rows, out);
    case PanelFormat::kQ6_K:
      return Int8Panels<Dot, PanelFormat::kQ6_K>(panels, rows, out);
    case PanelFormat::kF32:
    case PanelFormat::kF16:
    case PanelFormat::kBf16:
    case PanelFormat::kBf16Pairs:
      return;  // computed in bf16
  }
}

}  // namespace
}  // namespace longhaul::cpu
