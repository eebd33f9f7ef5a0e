#pragma once

#include <compare>
#include <cstdint>

namespace longhaul {

// What is repeated inside one cell (mode and length) of an evaluation. Measurements of different cells with equal
// samples read the same tokens and are compared as pairs.
struct Repetition {
  int64_t span_end = 0;  // tail loss, repeated text: the token after the span's last
  int64_t depth = 0;     // passkey: where the key stands, percent of the filler
  int64_t trial = 0;     // passkey: which key; documents: which question

  auto operator<=>(const Repetition&) const = default;
};

}  // namespace longhaul
