// Reads quantized panels in Lanes. Included by one file per instruction set, inside its target region and after its
// Lanes; everything stays in that file's unnamed namespace.

namespace longhaul::cpu {
namespace {

// The 8 groups of codes of a run: group g holds elements 4g .. 4g + 3.
template <PanelFormat kFormat>
LH_INLINE void LoadCodes(const uint8_t* at, Lanes::I codes[8]) {
  if constexpr (HasNibbles(kFormat)) {
    const Lanes::I low_nibbles = Lanes::SetI(0x0f0f0f0f);
    for (int j = 0; j < 4; ++j) {
      const Lanes::I both = Lanes::LoadI(at + j * kGroupBytes);
      codes[j] = Lanes::And(both, low_nibbles);
      codes[j + 4] = Lanes::And(Lanes::template ShiftRight<4>(both), low_nibbles);
    }
  } else {
    for (int j = 0; j < 8; ++j) codes[j] = Lanes::LoadI(at + j * kGroupBytes);
  }
}

// What the integer sum of a run is multiplied with, and what is added. Products of an f16 and a small integer are
// exact.
struct RunScales {
  Lanes::F scale;
  Lanes::F min;         // where the format has one
  Lanes::I of_half[2];  // Q6_K
};

template <PanelFormat kFormat>
LH_INLINE RunScales LoadScales(const PanelLayout& layout, const uint8_t* panel, int64_t run) {
  RunScales scales{};
  const uint8_t* of_run = panel + layout.run_scales + run * RunScaleBytes(kFormat);
  const uint8_t* of_block = panel + layout.block_scales + run / 8 * BlockScaleBytes(kFormat);
  if constexpr (kFormat == PanelFormat::kQ6_K) {
    scales.scale = Lanes::LoadHalf(of_block);
    scales.of_half[0] = Lanes::LoadS8(of_run);
    scales.of_half[1] = Lanes::LoadS8(of_run + 16);
  } else if constexpr (BlockScaleBytes(kFormat) != 0) {
    scales.scale = Lanes::Mul(Lanes::LoadHalf(of_block), Lanes::ToFloat(Lanes::LoadU8(of_run)));
    scales.min = Lanes::Mul(Lanes::LoadHalf(of_block + 32), Lanes::ToFloat(Lanes::LoadU8(of_run + 16)));
  } else {
    scales.scale = Lanes::LoadHalf(of_run);
    if constexpr (HasMin(kFormat)) scales.min = Lanes::LoadHalf(of_run + 32);
  }
  return scales;
}

}  // namespace
}  // namespace longhaul::cpu
