// How much of a prompt a step reads, so that it takes the time that it may take.

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "tests/engine/scheduling/scheduler_fixture.h"

namespace longhaul {
namespace {

using StepTimeTest = SchedulerTest;

TEST_F(StepTimeTest, APromptFillsTheTimeThatDecodingLeaves) {
  BlockPool pool(GeometryOf(4096));
  Scheduler scheduler({.max_tokens = 512, .max_logit_rows = 32, .max_rows = 32, .step_target = 0.05}, pool);
  // A machine that takes 5 ms a step, 1 ms a token, 1 ms for 10,000 keys and 1 ms to fetch 2,000 of them.
  const auto seconds = [](const Batch& batch) {
    double keys = 0, context = 0;
    for (const BatchRow& row : batch.rows) {
      context += static_cast<double>(row.length + row.n_new);
      for (int64_t i = 0; i < row.n_new; ++i) keys += static_cast<double>(row.length + i);
    }
    return 5e-3 + 1e-3 * static_cast<double>(batch.n_tokens()) + 1e-7 * keys + 5e-7 * context;
  };
  Group decoding, reading;
  decoding.rows.emplace_back(Text(10), plan_, pool);
  reading.rows.emplace_back(Text(20000), plan_, pool);
  decoding.max_new_tokens = 29990, reading.max_new_tokens = 16;
  decoding.draws = reading.draws = &draws_;
  scheduler.Add(decoding, 0);
  std::vector<double> steps;
  for (int i = 0; i < 600; ++i) {
    if (i == 40) scheduler.Add(reading, i);
    const Step step = scheduler.NextStep(i).value();
    const Batch& batch = step.batch;
    ASSERT_FALSE(step.empty());
    const double taken = seconds(batch);
    if (i > 100 && batch.rows.size() == 2) steps.push_back(taken);
    scheduler.OnSubmitted(step);
    scheduler.StepDone(step, taken);
    for (const Step::GroupPart& part : step.groups) {
      if (part.group == &decoding) decoding.rows[0].tokens.push_back(7);
    }
  }
  ASSERT_GT(steps.size(), 300u);
  for (double step : steps) ASSERT_NEAR(step, 0.05, 0.01);
}

// A machine that takes 2 ms a step and 1 ms a token.
double SecondsOf(const Step& step) {
  return 2e-3 + 1e-3 * static_cast<double>(step.batch.n_tokens());
}

// Steps from..to-1, which take `slower` times as long as that machine does.
void RunSteps(Scheduler& scheduler, int from, int to, double slower = 1) {
  for (int i = from; i < to; ++i) {
    const Step step = scheduler.NextStep(i).value();
    scheduler.OnSubmitted(step);
    scheduler.StepDone(step, slower * SecondsOf(step));
  }
}

TEST_F(StepTimeTest, PromptsAloneAreBoundedInTimeButNotToATokenAStep) {
  BlockPool pool(GeometryOf(4096));
  for (const double step_target : {0.03, 1e-4}) {
    Scheduler scheduler({.max_tokens = 512, .max_logit_rows = 32, .max_rows = 32, .step_target = step_target}, pool);
    Group group;
    group.rows.emplace_back(Text(20000), plan_, pool);
    group.max_new_tokens = 1;
    group.draws = &draws_;
    scheduler.Add(group, 0);
    RunSteps(scheduler, 0, 50);
    // Five times the target, or five times two steps of a token each.
    EXPECT_NEAR(SecondsOf(*scheduler.NextStep(50)), 5 * std::max(step_target, 2 * 3e-3), 0.01) << step_target;
    scheduler.Remove(group);
  }
}

TEST_F(StepTimeTest, TheFirstPromptHasHalfOfTheTimeBesideShorterOnes) {
  BlockPool pool(GeometryOf(4096));
  Scheduler scheduler({.max_tokens = 512, .max_logit_rows = 32, .max_rows = 32, .step_target = 0.05}, pool);
  std::vector<std::unique_ptr<Group>> prompts;
  for (const int64_t tokens : {20000, 9000, 8000}) {
    prompts.push_back(std::make_unique<Group>());
    prompts.back()->rows.emplace_back(Text(tokens), plan_, pool);
    prompts.back()->draws = &draws_;
    scheduler.Add(*prompts.back(), 0);
  }
  RunSteps(scheduler, 0, 30);
  const Step step = scheduler.NextStep(30).value();
  const Batch& batch = step.batch;
  EXPECT_NEAR(SecondsOf(step), 0.25, 0.02);
  ASSERT_GE(batch.rows.size(), 2u);
  EXPECT_EQ(step.groups[1].group, prompts[2].get());
  EXPECT_NEAR(static_cast<double>(batch.rows[0].n_new), static_cast<double>(batch.rows[1].n_new), 12);
}

TEST_F(StepTimeTest, AMachineThatBecomesSlowerGetsSmallerSteps) {
  BlockPool pool(GeometryOf(4096));
  Scheduler scheduler({.max_tokens = 512, .max_logit_rows = 32, .max_rows = 32, .step_target = 0.02}, pool);
  Group group;
  group.rows.emplace_back(Text(60000), plan_, pool);
  group.draws = &draws_;
  scheduler.Add(group, 0);
  RunSteps(scheduler, 0, 300);
  RunSteps(scheduler, 300, 330, 3);
  EXPECT_NEAR(3 * SecondsOf(*scheduler.NextStep(330)), 0.1, 0.02);
}

}  // namespace
}  // namespace longhaul
