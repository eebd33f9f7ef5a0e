#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/scheduling/step.h"

namespace longhaul {

// Makes a step of groups, within its limits. One thread.
class StepBuilder {
 public:
  // Sizes of the lists of an earlier step, to reserve for the next one.
  struct Sizes {
    size_t tokens = 0, rows = 0, groups = 0, blocks = 0, wanted = 0, counts = 0;
  };

  // `max_tokens`, `max_logit_rows`: of the step.
  StepBuilder(int64_t max_tokens, int64_t max_logit_rows, const Sizes& expected)
      : max_tokens_(max_tokens), max_logit_rows_(max_logit_rows), expected_(expected) {}

  // Adds at most `max_tokens` tokens of the group. The last tokens of all its rows go into one step or not at all. The
  // group is not changed.
  void Add(Group& group, int64_t max_tokens);

  const StepWork& work() const { return step_.work; }
  int64_t tokens_left() const { return max_tokens_ - step_.batch.n_tokens(); }
  Sizes sizes() const;
  Step Take() { return std::move(step_); }

 private:
  void Reserve();
  void AddRow(const Group& group, Sequence& row, int64_t n_new);
  void AddScores(const Group& group, const Sequence& row, int64_t n_new, int64_t first_token);
  int32_t PlanIndex(const std::shared_ptr<const RotaryPlan>& plan);

  const int64_t max_tokens_, max_logit_rows_;
  const Sizes expected_;
  Step step_;
};

}  // namespace longhaul
