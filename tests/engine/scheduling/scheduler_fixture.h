#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "engine/scheduling/scheduler.h"
#include "tests/engine/cache/geometry.h"
#include "tests/engine/scheduling/fixed_draw.h"

namespace longhaul {

// A scheduler over a pool of blocks, and requests that are told by a word.
class SchedulerTest : public ::testing::Test {
 protected:
  Group& Make(int64_t tokens, int64_t answer, int n_rows) {
    auto group = std::make_unique<Group>();
    for (int r = 0; r < n_rows; ++r) group->rows.emplace_back(Text(tokens), plan_, pool_);
    group->max_new_tokens = answer;
    group->draws = &draws_;
    groups_.push_back(std::move(group));
    return *groups_.back();
  }
  Group& Prompt(int64_t tokens, int64_t answer = 16, int n_rows = 1) {
    Group& group = Make(tokens, answer, n_rows);
    scheduler_.Add(group, now_);
    return group;
  }
  Group& PromptOf(const std::string& client, int64_t tokens, int32_t priority = 0) {
    Group& group = Make(tokens, 16, 1);
    group.client = client;
    group.priority = priority;
    scheduler_.Add(group, now_);
    return group;
  }
  Group& Score(int64_t tokens, int64_t from) {
    Group& group = Make(tokens, 0, 1);
    group.draws = nullptr;
    group.score_from = from;
    scheduler_.Add(group, now_);
    return group;
  }
  // No text begins as another.
  std::vector<TokenId> Text(int64_t tokens) {
    std::vector<TokenId> text(static_cast<size_t>(tokens));
    std::iota(text.begin(), text.end(), 100);
    if (tokens > 0) text[0] = 100000 + n_texts_++;
    return text;
  }
  // New tokens of each row of the next step.
  std::vector<int64_t> NextStep() {
    std::vector<int64_t> n_new;
    step_ = scheduler_.NextStep(now_).value();
    for (const BatchRow& row : batch().rows) n_new.push_back(row.n_new);
    return n_new;
  }
  const Batch& batch() const { return step_.batch; }
  // Ends the step as an engine does: each group that was due gets a token.
  void Finish() {
    scheduler_.OnSubmitted(step_);
    scheduler_.StepDone(step_, 1e-3);
    now_ += 1e-3;
    for (const Step::GroupPart& part : step_.groups) {
      if (!part.draws) continue;
      for (Sequence& row : part.group->rows) row.tokens.push_back(7);
    }
  }

  const std::shared_ptr<const RotaryPlan> plan_ = std::make_shared<const RotaryPlan>();
  const FixedDraw draws_;
  BlockPool pool_{GeometryOf(64)};
  Step step_;  // of NextStep
  double now_ = 0;
  int n_texts_ = 0;
  std::vector<std::unique_ptr<Group>> groups_;
  // A step may take as long as it likes where a test does not say otherwise.
  Scheduler scheduler_{{.max_tokens = 64, .max_logit_rows = 32, .max_rows = 32, .step_target = 1e6}, pool_};
};

}  // namespace longhaul
