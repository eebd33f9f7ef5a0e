#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/backend/batch.h"
#include "engine/backend/cpu/growing_floats.h"
#include "engine/backend/cpu/worker_pool.h"
#include "engine/decoding/nbce_combiner.h"

namespace longhaul::cpu {

// Makes tokens and scores of a step's logits, spread over the workers. What a group gets depends on its own rows alone.
// One thread at a time.
class LogitDecoder {
 public:
  // `pool` is not owned and outlives it.
  explicit LogitDecoder(WorkerPool& pool) : pool_(pool) {}

  // logits: [batch.n_logit_rows(), width], in the order of the batch's rows. Fills groups, choices and scores of
  // `result`. REQUIRES: CheckBatch accepted the batch; result.groups and choices are as many as its groups.
  void Decode(const Batch& batch, const float* logits, int64_t width, StepResult& result);

 private:
  // A group of several rows that wants a token.
  struct Combination {
    size_t group;       // of the batch
    NbceLogits logits;  // its rows
    const NbceInput* input;
    size_t first_row;  // of rows_
    float* combined;   // [width]
    bool all_dropped = false;
  };

  // Reads their rows, chooses, and merges them; two passes over the logits.
  void Combine(std::vector<Combination>& combinations, StepResult& result);
  // Over ranges of the vocabulary; with each combination's pooling, or, of those that lost every token, as min-entropy.
  void Merge(std::vector<Combination>& combinations, bool fall_back, const StepResult& result);

  WorkerPool& pool_;
  std::vector<NbceRow> rows_;  // of all combinations
  GrowingFloats combined_;
};

}  // namespace longhaul::cpu
