#pragma once

#include <cstddef>
#include <span>

// The vector loops over a row of logits. Each is a pure function of the row with one order of summation.
namespace longhaul {

// Logits are summed in ranges of this many, counted from id 0.
inline constexpr size_t kLogitRange = 4096;

// The largest value; -infinity for an empty range; NaN if a value is NaN.
float MaxLogit(std::span<const float> logits);

// sum_i exp((logits[i] - max) * scale), range after range. REQUIRES: no value is NaN or above `max`, `max` is finite
// and scale > 0.
double SumExp(std::span<const float> logits, float max, float scale);

// A row is seen as tiles of 16 x 16 ids; column c of tile t is a cell: the ids 256 t + 16 r + c, r = 0..15.
inline constexpr size_t kCellStride = 16;
inline constexpr size_t kCellRows = 16;
inline constexpr size_t kTile = kCellStride * kCellRows;
constexpr size_t NumCells(size_t n) {
  return (n + kTile - 1) / kTile * kCellStride;
}

// The largest value of each cell, -infinity where it holds none; `maxima` is [NumCells(logits.size())]. False if a
// value is NaN.
bool CellMaxima(std::span<const float> logits, float* maxima);

}  // namespace longhaul
