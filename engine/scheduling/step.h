#pragma once

#include <cstdint>
#include <vector>

#include "engine/backend/batch.h"
#include "engine/scheduling/group.h"
#include "engine/scheduling/step_cost.h"

namespace longhaul {

// What telemetry counts of a step. Decode is a single new token of a row whose prompt has been prefilled; prefill is
// all else, also what is computed again after a preemption.
struct StepTally {
  int64_t decode_rows = 0;  // a token each
  int64_t prefill_rows = 0, prefill_tokens = 0;
  int64_t prompt_tokens = 0;  // of the prefill, those that are read for the first time
};

// One step as the scheduler sees it, from its making until its result has been collected. Groups and rows are not
// owned; while the step is in flight they live, even if removed.
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
    bool completes_prompt;  // the next token of the group depends on the result of this step
  };

  Batch batch;                    // moved into Runner::Submit
  std::vector<GroupPart> groups;  // [Batch::groups]
  std::vector<Row> rows;          // [Batch::rows]
  StepWork work;
  StepTally tally;

  bool empty() const { return groups.empty(); }
};

}  // namespace longhaul
