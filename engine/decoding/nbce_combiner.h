#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/decoding/nbce_row.h"

// Naive Bayes Context Extension: merges the logits of rows that read different documents into one distribution
// (kexue.fm 9617, 9632).
namespace longhaul {

// How the document rows are pooled: the row of least entropy, the mean, or the maximum of their log-probabilities.
enum class NbcePooling { kMinEntropy, kMean, kMax };

// The defaults are the author's.
struct NbceParams {
  float beta = 0.25f;   // >= -1: weight of the contrast with row 0; 0: none
  float eta = 0.1f;     // nats: bonus of the row that was chosen at the step before
  float top_p = 0.95f;  // (0, 1]: probability mass that is kept of each row
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
// vocabulary (see MergePolicy::if_nothing_left).
// REQUIRES: begin <= end <= vocabulary; combined is [vocabulary].
bool MergeNbce(const NbceLogits& logits, std::span<const NbceRow> rows, float beta, NbcePooling pooling, int32_t chosen,
               size_t begin, size_t end, float* combined);

// --- All parts together, on the calling thread ---

struct NbceResult {
  std::vector<float> logits;     // [vocabulary], for SampleToken; all -infinity when no row was usable
  int32_t chosen = -1;           // the cited row, 1..n-1; -1: no row was usable
  std::vector<float> entropies;  // [n] of the rows, nats, before `eta`; NaN of a row that is not usable
  bool fell_back = false;        // kMean left no token: this is what kMinEntropy gives
};

// REQUIRES: logits.n_rows >= 1 (with row 0 alone there is nothing to choose), params as they say.
// Merges as `params` say, kMean again as kMinEntropy where nothing is left. `previous`: see ChooseNbceRow.
NbceResult CombineNbce(const NbceLogits& logits, const NbceParams& params, int32_t previous);

}  // namespace longhaul
