#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/backend/batch.h"
#include "engine/backend/cpu/growing_array.h"
#include "engine/backend/cpu/worker_pool.h"
#include "engine/decoding/nbce_combiner.h"

namespace longhaul::cpu {

// Draws tokens and computes scores from the logits of a step, spread over the workers. The result of a group depends on
// its own rows alone. One thread at a time.
class TokenChooser {
 public:
  // `pool` is not owned and outlives it.
  explicit TokenChooser(WorkerPool& pool) : pool_(pool) {}

  // logits: [batch.n_logit_rows(), width]. `before`: the groups' results of the step before. Fills result.groups.
  // REQUIRES: CheckBatch accepted the batch; result.groups are as many as its groups.
  void Choose(const Batch& batch, const float* logits, int64_t width, const std::vector<GroupResult>& before,
              StepResult& result);

 private:
  // A group that draws from several rows.
  struct Merging {
    const MergePolicy* policy;
    NbceLogits logits;  // its rows
    int32_t previous;
    size_t first_row;  // of rows_
    float* merged;     // [width]
    MergeChoice* choice;
    MergeSource source = MergeSource::kMerged;
    bool nothing_left = false;
    bool gave_up = false;  // the policy tries nothing after that
  };
  // A group that draws.
  struct Drawing {
    SamplerInput input;
    std::span<const float> logits;
    SamplerResult* drawn;
    Merging* merging = nullptr;
  };

  // Reads their rows, chooses, and merges them; two passes over the logits.
  void Combine(std::vector<Merging>& mergings);
  // Those that are to be merged from `source`, over ranges of the vocabulary.
  void Merge(std::vector<Merging>& mergings, MergeSource source);
  void Draw(Drawing& drawing);
  static std::span<const float> LogitsOf(const Merging& merging);
  // False when it leaves nothing in the range.
  bool MergeRange(const Merging& merging, size_t begin, size_t end) const;

  WorkerPool& pool_;
  std::vector<NbceRow> rows_;   // of all mergings
  GrowingArray<float> merged_;  // [mergings, width]: at most as many rows as the step's logits
};

}  // namespace longhaul::cpu
