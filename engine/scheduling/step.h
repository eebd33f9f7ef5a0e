#pragma once

#include <cstdint>
#include <vector>

#include "engine/backend/batch.h"
#include "engine/scheduling/group.h"
#include "engine/scheduling/step_cost.h"

namespace longhaul {

// What is told of a step's tokens: decode is a token behind a prompt that has been read, prefill all else, a row that
// is read again after a preemption too.
struct StepTally {
  int64_t decode_rows = 0;  // a token each
  int64_t prefill_rows = 0, prefill_tokens = 0;
  int64_t prompt_tokens = 0;  // of the prefill, those that are read for the first time
};

// One step as its maker sees it, from the making of its batch until its result has been collected.
struct Step {
  struct Row {
    Sequence* sequence;
    int64_t n_new;
  };
  struct GroupPart {
    Group* group;
    uint64_t generation;        // of the group when the step was made
    int32_t first_row, n_rows;  // of `rows`
    bool draws;
    bool completes_prompt;  // nothing more is to be computed before its result is known
  };

  Batch batch;                    // goes to the runner
  std::vector<GroupPart> groups;  // [Batch::groups]
  std::vector<Row> rows;          // [Batch::rows]
  StepWork work;
  StepTally tally;

  bool empty() const { return groups.empty(); }
};

}  // namespace longhaul
