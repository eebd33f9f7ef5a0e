// The f32 and bf16 matmuls in Lanes. Included as panel_reader-inl.h, which comes first.
//
// The order of summation of an output, whatever the tile: one chain from 0 over k. f32: sum = x[k] * w[k] + sum, fused
// where the CPU can. bf16: over pairs of k, by a Step that adds the pair's two products. Quantized weights have the
// values of DequantizeRow. Sums that wait between two chunks of k are stored as they are.

namespace longhaul::cpu {
namespace {

struct F32Step {
  static constexpr bool kPairs = false;
  LH_INLINE static Lanes::F Step(Lanes::F sum, Lanes::I weights, Lanes::I x) {
    return Lanes::MulAdd(Lanes::AsFloat(x), Lanes::AsFloat(weights), sum);
  }
};

// Where the CPU has no dot product of bf16 pairs: first the even element, then the odd one.
struct Bf16Step {
  static constexpr bool kPairs = true;
  LH_INLINE static Lanes::F Step(Lanes::F sum, Lanes::I weights, Lanes::I x) {
    const Lanes::I odd = Lanes::SetI(static_cast<int32_t>(0xffff0000u));
    sum = Lanes::MulAdd(Lanes::AsFloat(Lanes::template ShiftLeft<16>(x)),
                        Lanes::AsFloat(Lanes::template ShiftLeft<16>(weights)), sum);
    return Lanes::MulAdd(Lanes::AsFloat(Lanes::And(x, odd)), Lanes::AsFloat(Lanes::And(weights, odd)), sum);
  }
};

template <PanelFormat kFormat, int kByte>
LH_INLINE void ExpandElement(Lanes::I codes, Lanes::F scale, Lanes::F min, uint32_t* to) {
  Lanes::I code = Lanes::And(Lanes::template ShiftRight<8 * kByte>(codes), Lanes::SetI(255));
  if constexpr (ZeroPoint(kFormat) != 0) code = Lanes::AddI(code, Lanes::SetI(-ZeroPoint(kFormat)));
  Lanes::F value = Lanes::Mul(Lanes::ToFloat(code), scale);
  if constexpr (HasMin(kFormat)) value = Lanes::Add(value, min);
  Lanes::StoreF(value, to + kByte * kPanelOutputs);
}

// to[k][16] = the dequantized elements of `runs` runs.
template <PanelFormat kFormat>
void ExpandRuns(const PanelLayout& layout, const uint8_t* panel, int64_t first_run, int64_t runs, uint32_t* to) {
  for (int64_t run = first_run; run < first_run + runs; ++run) {
    Lanes::I codes[8];
    LoadCodes<kFormat>(panel + run * RunCodeBytes(kFormat), codes);
    const RunScales scales = LoadScales<kFormat>(layout, panel, run);
    for (int g = 0; g < 8; ++g, to += 4 * kPanelOutputs) {
      Lanes::F scale = scales.scale;
      if constexpr (kFormat == PanelFormat::kQ6_K) scale = Lanes::Mul(scale, Lanes::ToFloat(scales.of_half[g / 4]));
      ExpandElement<kFormat, 0>(codes[g], scale, scales.min, to);
      ExpandElement<kFormat, 1>(codes[g], scale, scales.min, to);
      ExpandElement<kFormat, 2>(codes[g], scale, scales.min, to);
      ExpandElement<kFormat, 3>(codes[g], scale, scales.min, to);
    }
  }
}

// to[k][16] = elements [first, first + n) of a panel that is not plain f32, as f32.
inline void ExpandPanel(const PanelLayout& layout, const uint8_t* panel, int64_t first, int64_t n, uint32_t* to) {
  switch (layout.format) {
    case PanelFormat::kQ4_0:
      return ExpandRuns<PanelFormat::kQ4_0>(layout, panel, first / 32, n / 32, to);
    case PanelFormat::kQ4_1:
      return ExpandRuns<PanelFormat::kQ4_1>(layout, panel, first / 32, n / 32, to);
    case PanelFormat::kQ5_0:
      return ExpandRuns<PanelFormat::kQ5_0>(layout, panel, first / 32, n / 32, to);
    case PanelFormat::kQ5_1:
      return ExpandRuns<PanelFormat::kQ5_1>(layout, panel, first / 32, n / 32, to);
    case PanelFormat::kIQ4_NL:
      return ExpandRuns<PanelFormat::kIQ4_NL>(layout, panel, first / 32, n / 32, to);
    case PanelFormat::kQ8_0:
      return ExpandRuns<PanelFormat::kQ8_0>(layout, panel, first / 32, n / 32, to);
    case PanelFormat::kQ4_K:
      return ExpandRuns<PanelFormat::kQ4_K>(layout, panel, first / 32, n / 32, to);
    case PanelFormat::kQ5_K:
      return ExpandRuns<PanelFormat::kQ5_K>(layout, panel, first / 32, n / 32, to);
    case PanelFormat::kQ6_K:
      return ExpandRuns<PanelFormat::kQ6_K>(layout, panel, first / 32, n / 32, to);
    case PanelFormat::kF16:
      for (int64_t k = 0; k < n; ++k, to += kPanelOutputs) {
        Lanes::StoreF(Lanes::LoadHalf(panel + (first + k) * kGroupBytes / 2), to);
      }
      return;
    case PanelFormat::kBf16:
      for (int64_t k = 0; k < n; ++k, to += kPanelOutputs) {
        const Lanes::I value = Lanes::LoadU16(panel + (first + k) * kGroupBytes / 2);
        Lanes::StoreF(Lanes::AsFloat(Lanes::template ShiftLeft<16>(value)), to);
      }
      return;
    case PanelFormat::kF32:
    case PanelFormat::kBf16Pairs:
      return;  // read where they lie
  }
}

// pairs[i][16] = values[2i][16] and values[2i + 1][16], rounded to bf16.
inline void RoundToPairs(const uint32_t* values, int64_t n_pairs, uint32_t* pairs) {
  for (int64_t i = 0; i < n_pairs; ++i) {
    for (int64_t n = 0; n < kPanelOutputs; ++n) {
      const uint32_t even = FloatToBfloat16(std::bit_cast<float>(values[2 * i * kPanelOutputs + n]));
      const uint32_t odd = FloatToBfloat16(std::bit_cast<float>(values[(2 * i + 1) * kPanelOutputs + n]));
      pairs[i * kPanelOutputs + n] = even | odd << 16;
    }
  }
}

// The weights of units [first, first + n) of a panel, [n][16]: where they lie or in `to`.
template <class Step>
const uint32_t* WeightChunk(const PanelLayout& layout, const uint8_t* panel, int64_t first, int64_t n, uint32_t* to,
                            uint32_t* expanded) {
  if (layout.format == PanelFormat::kF32 || layout.format == PanelFormat::kBf16Pairs) {
    return reinterpret_cast<const uint32_t*>(panel) + first * kPanelOutputs;
  }
  if constexpr (Step::kPairs) {
    ExpandPanel(layout, panel, 2 * first, 2 * n, expanded);
    RoundToPairs(expanded, n, to);
  } else {
    ExpandPanel(layout, panel, first, n, to);
  }
  return to;
}

// sums[r][2][16] (+)= a chunk of two panels.
template <class Step, int kRows>
void FloatTile(const uint32_t* weights0, const uint32_t* weights1, int64_t units, const uint32_t* x, bool first,
               float* sums) {
  Lanes::F sum[kRows][2];
  for (int r = 0; r < kRows; ++r) {
    for (int p = 0; p < 2; ++p) sum[r][p] = first ? Lanes::Zero() : Lanes::LoadF(sums + (r * 2 + p) * kPanelOutputs);
  }
  for (int64_t u = 0; u < units; ++u, x += kRows) {
    const Lanes::I w0 = Lanes::LoadI(weights0 + u * kPanelOutputs);
    const Lanes::I w1 = Lanes::LoadI(weights1 + u * kPanelOutputs);
#pragma GCC unroll 12
    for (int r = 0; r < kRows; ++r) {
      const Lanes::I xr = Lanes::BroadcastI(x + r);
      sum[r][0] = Step::Step(sum[r][0], w0, xr);
      sum[r][1] = Step::Step(sum[r][1], w1, xr);
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int p = 0; p < 2; ++p) Lanes::StoreF(sum[r][p], sums + (r * 2 + p) * kPanelOutputs);
  }
}

template <class Step>
void FloatMatmul(const PanelRange& panels, const FloatRows& rows, const FloatScratch& scratch, const Output& out) {
  const PanelLayout& layout = *panels.layout;
  const int64_t end = panels.first + panels.panels;
  for (int64_t p = panels.first; p < end; p += 2) {
    const bool two = p + 1 < end;
    for (int64_t first = 0; first < rows.units_per_row; first += kFloatChunk) {
      const int64_t units = std::min(kFloatChunk, rows.units_per_row - first);
      const uint8_t* panel = panels.data + p * layout.bytes;
      const uint32_t* w0 = WeightChunk<Step>(layout, panel, first, units, scratch.weights[0], scratch.expanded);
      const uint32_t* w1 =
          two ? WeightChunk<Step>(layout, panel + layout.bytes, first, units, scratch.weights[1], scratch.expanded)
              : w0;
      for (int64_t r = 0; r < rows.rows;) {
        const int tile = TileRows(rows.rows - r, Lanes::kFloatTile);
        const uint32_t* x = rows.units + (rows.first_row + r) * rows.units_per_row + first * tile;
        float* sums = scratch.sums + r * 2 * kPanelOutputs;
        switch (tile) {
          case 1:
            FloatTile<Step, 1>(w0, w1, units, x, first == 0, sums);
            break;
          case 2:
            FloatTile<Step, std::min(2, Lanes::kFloatTile)>(w0, w1, units, x, first == 0, sums);
            break;
          case 4:
            FloatTile<Step, std::min(4, Lanes::kFloatTile)>(w0, w1, units, x, first == 0, sums);
            break;
          case 8:
            FloatTile<Step, std::min(8, Lanes::kFloatTile)>(w0, w1, units, x, first == 0, sums);
            break;
          default:
            FloatTile<Step, std::min(12, Lanes::kFloatTile)>(w0, w1, units, x, first == 0, sums);
            break;
        }
        r += tile;
      }
    }
    const int64_t first_output = p * kPanelOutputs;
    const int64_t outputs = std::min((two ? 2 : 1) * kPanelOutputs, out.outputs - first_output);
    for (int64_t r = 0; r < rows.rows; ++r) {
      const float* sums = scratch.sums + r * 2 * kPanelOutputs;
      float* to = out.data + (rows.first_row + r) * out.stride + first_output;
      if (out.epilogue == Epilogue::kAdd) {
        for (int64_t n = 0; n < outputs; ++n) to[n] += sums[n];
      } else {
        for (int64_t n = 0; n < outputs; ++n) to[n] = sums[n];
      }
    }
  }
}

}  // namespace
}  // namespace longhaul::cpu
