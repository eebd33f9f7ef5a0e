#pragma once

#include <algorithm>
#include <cstdint>

#include "engine/backend/backend.h"
#include "engine/backend/cpu/matmul/packed_layout.h"

namespace longhaul::cpu {

// The matmul kernels, one table of functions per instruction set. Rows are worked on in tiles: the rows of a tile share
// each vector of weights that is read. A tile's activations are interleaved, unit by unit: [units][rows of the tile],
// where a unit is 32 codes (int8), a pair of bf16, or an f32. How rows fall into tiles changes no result.

// The size of the next tile where `rows` rows are left: 12, 8, 4, 2 or 1, at most `most`.
constexpr int TileRows(int64_t rows, int most) {
  for (int tile : {12, 8, 4, 2}) {
    if (tile <= most && tile <= rows) return tile;
  }
  return 1;
}

// What the int8 matmuls need of a run of 32 activations beside their codes.
struct RunSums {
  float scale;       // value = scale * code
  float scaled_sum;  // scale * sum of the codes: what a min is multiplied with
  // -8 * sum of the first and of the last 16 codes: what a zero point of 8 adds; others are multiples.
  int32_t minus_8_sum[2];
};

// Where the results of some panels go.
struct Output {
  float* data;      // of the segment's first output in the first row
  int64_t stride;   // from row to row
  int64_t outputs;  // of the segment; the last panel's padding is not written
  Epilogue epilogue;
};

// `panels` consecutive panels from number `first` on.
struct PanelRange {
  const PanelLayout* layout;
  const uint8_t* data;  // of panel 0
  int64_t first;
  int64_t panels;
};

// Rounded activations of the rows [first_row, first_row + rows), which start and end at borders of tiles.
struct FloatRows {
  const uint32_t* units;  // of row 0; a tile that starts at row r starts at units + r * units_per_row
  int64_t units_per_row;
  int64_t first_row;
  int64_t rows;
};
struct Int8Rows {
  const int8_t* codes;
  const RunSums* sums;
  int64_t runs;  // per row
  int64_t first_row;
  int64_t rows;
};

inline constexpr int64_t kFloatChunk = 128;  // units of k that are expanded at once

// Scratch of one thread. [rows][2 panels][16] sums between two chunks, and two expanded panels of a chunk.
struct FloatScratch {
  float* sums;
  uint32_t* weights[2];
  uint32_t* expanded;  // one panel's chunk as f32, before it is rounded to pairs: [2 * kFloatChunk][16]
};

struct MatmulKernels {
  int int8_tile;  // most rows of a tile
  int float_tile;

  // Round `tile` rows of `columns` and write them interleaved.
  void (*quantize_rows)(const float* in, int64_t columns, int tile, int8_t* codes, RunSums* sums);
  void (*round_rows)(const float* in, int64_t columns, int tile, uint32_t* pairs);

  // out = rows x panels
  void (*int8_matmul)(const PanelRange& panels, const Int8Rows& rows, const Output& out);
  void (*f32_matmul)(const PanelRange& panels, const FloatRows& rows, const FloatScratch& scratch, const Output& out);
  void (*bf16_matmul)(const PanelRange& panels, const FloatRows& rows, const FloatScratch& scratch, const Output& out);
};

// For the active instruction set and what else the CPU has.
const MatmulKernels& ActiveMatmulKernels();

// One file each; the wider ones are called only where the CPU has them.
const MatmulKernels& PortableKernels();
const MatmulKernels& Avx2Kernels();
const MatmulKernels& Avx512Kernels();
void Int8MatmulVnni(const PanelRange& panels, const Int8Rows& rows, const Output& out);
void Bf16MatmulAvx512(const PanelRange& panels, const FloatRows& rows, const FloatScratch& scratch, const Output& out);

}  // namespace longhaul::cpu
