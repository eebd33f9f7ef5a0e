// Reads quantized panels in Lanes. Included by one file per instruction set, inside its target region and after its
// Lanes; everything stays in that file's unnamed namespace.

namespace longhaul::cpu {
namespace {

// The high bits of group kGroup out of its word, where they are in a code.
template <int kBits, int kGroup>
LH_INLINE void AddHighBits(const Lanes::I words[kBits], Lanes::I codes[8]) {
  constexpr int kAt = kGroup * kBits % 8;
  Lanes::I bits = words[kGroup * kBits / 8];
  if constexpr (kAt < 4) bits = Lanes::template ShiftLeft<4 - kAt>(bits);
  if constexpr (kAt > 4) bits = Lanes::template ShiftRight<kAt - 4>(bits);
  codes[kGroup] = Lanes::Or(codes[kGroup], Lanes::And(bits, Lanes::SetI(kBits == 1 ? 0x10101010 : 0x30303030)));
}

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
    if constexpr (kFormat == PanelFormat::kIQ4_NL) {
      for (int j = 0; j < 8; ++j) codes[j] = Lanes::LookUp(kNonLinearCodes, codes[j]);
    }
    if constexpr (constexpr int kBits = HighBits(kFormat); kBits > 0) {
      Lanes::I words[kBits];
      for (int j = 0; j < kBits; ++j) words[j] = Lanes::LoadI(at + (4 + j) * kGroupBytes);
      AddHighBits<kBits, 0>(words, codes);
      AddHighBits<kBits, 1>(words, codes);
      AddHighBits<kBits, 2>(words, codes);
      AddHighBits<kBits, 3>(words, codes);
      AddHighBits<kBits, 4>(words, codes);
      AddHighBits<kBits, 5>(words, codes);
      AddHighBits<kBits, 6>(words, codes);
      AddHighBits<kBits, 7>(words, codes);
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
  } else if constexpr (HasBlockScales(kFormat)) {
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
