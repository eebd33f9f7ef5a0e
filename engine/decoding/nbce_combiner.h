#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/decoding/nbce_row.h"

// Naive Bayes Context Extension: rows of logits that read different documents become one distribution (kexue.fm 9617,
// 9632).
namespace longhaul {

// What stands for all documents together: the surest row's log-probabilities, or the mean or the maximum of all rows'.
enum class NbcePooling { kMinEntropy, kMean, kMax };

// The author's values.
struct NbceParams {
  float beta = 0.25f;   // >= -1: how far to go from what would be said without a document; 0: nowhere
  float eta = 0.1f;     // nats: how much surer another document must be before the choice leaves the last one
  float top_p = 0.95f;  // (0, 1]: how much of each row's distribution is kept
  NbcePooling pooling = NbcePooling::kMinEntropy;
};

// The logits of one group at one step; not owned.
struct NbceLogits {
  const float* data = nullptr;  // [n_rows, stride], of which [n_rows, vocabulary] count; row 0 has no document
  size_t n_rows = 0;
  size_t vocabulary = 0;
  size_t stride = 0;

  std::span<const float> row(size_t i) const { return {data + i * stride, vocabulary}; }
};

// --- The parts, for a backend that spreads rows, then ranges of the vocabulary, over threads (nbce_row.h comes first).
// All are pure functions of their arguments; any thread. ---

// The row to cite: the least entropy of rows 1..n-1, `eta` less for row `previous` (of the step before; not positive:
// there is none); the lowest row of equals. Rows that are not usable are passed over; -1 when none is. `rows` are what
// ReadNbceRow says of all n rows, row 0 first.
int32_t ChooseNbceRow(std::span<const NbceRow> rows, float eta, int32_t previous);

// Writes the combined log-probabilities, not normalised, of the tokens begin..end-1 to combined[begin..end-1]:
// (1 + beta) l - beta l_0, where l is pooled of the truncated rows 1..n-1; l alone where row 0 dropped the token or
// gives it less than e^-100; -infinity where l is, for every beta. Rows that are not usable take no part, nor does a
// row 0 that is not. Rows are added in their order; where the ranges end changes no bit. `chosen`: of ChooseNbceRow; -1
// gives -infinity alone. False when all tokens of the range are at -infinity: with kMean that can be so for the whole
// vocabulary, and then the step is to be merged again as kMinEntropy.
// REQUIRES: begin <= end <= vocabulary; combined is [vocabulary].
bool MergeNbce(const NbceLogits& logits, std::span<const NbceRow> rows, float beta, NbcePooling pooling, int32_t chosen,
               size_t begin, size_t end, float* combined);

// --- All of it, on the calling thread ---

struct NbceResult {
  std::vector<float> logits;     // [vocabulary], for Sample; all -infinity when no row was usable
  int32_t chosen = -1;           // the cited row, 1..n-1; -1: no row was usable
  std::vector<float> entropies;  // [n] of the rows, nats, before `eta`; NaN of a row that is not usable
  bool fell_back = false;        // kMean left no token: this is what kMinEntropy gives
};

// REQUIRES: logits.n_rows >= 1 (with row 0 alone there is nothing to choose), params as they say.
NbceResult CombineNbce(const NbceLogits& logits, const NbceParams& params, int32_t previous);

}  // namespace longhaul
