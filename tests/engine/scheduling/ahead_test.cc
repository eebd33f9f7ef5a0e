// A step that is made while the one before it has not been collected.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <utility>

#include "tests/engine/scheduling/scheduler_fixture.h"

namespace longhaul {
namespace {

using ::testing::ElementsAre;

class SchedulerAheadTest : public SchedulerTest {
 protected:
  // A group of which the prompt has been read and one token drawn.
  Group& Decoding(int64_t tokens, int64_t answer) {
    Group& group = Prompt(tokens, answer);
    NextStep();
    Finish();
    group.prompt_read = true;
    return group;
  }
  Step Submit() {
    std::optional<Step> step = scheduler_.NextStep(now_);
    EXPECT_TRUE(step.has_value() && !step->empty());
    scheduler_.OnSubmitted(*step);
    return *std::move(step);
  }
  void Collect(const Step& step) {
    scheduler_.StepDone(step, 1e-3);
    for (const Step::GroupPart& part : step.groups) {
      if (!part.draws || Scheduler::IsVoid(part)) continue;
      for (Sequence& row : part.group->rows) row.tokens.push_back(7);
    }
  }
};

TEST_F(SchedulerAheadTest, TheNextTokenIsWhatTheStepBeforeDraws) {
  Group& group = Decoding(10, 16);
  const Step first = Submit(), second = Submit();
  EXPECT_THAT(first.batch.tokens, ElementsAre(7));
  EXPECT_THAT(second.batch.tokens, ElementsAre(DrawnBy(0)));
  EXPECT_THAT(second.batch.positions, ElementsAre(11));
  EXPECT_EQ(second.batch.groups[0].draw->index, first.batch.groups[0].draw->index + 1);
  EXPECT_EQ(group.rows[0].n_computed, 10);
  Collect(first);
  EXPECT_EQ(group.rows[0].n_computed, 11);
  Collect(second);
  EXPECT_EQ(group.rows[0].n_computed, 12);
  EXPECT_EQ(group.n_in_flight, 0);
}

TEST_F(SchedulerAheadTest, NothingIsMadeBehindTheLastToken) {
  Decoding(10, 3);
  const Step first = Submit(), second = Submit();
  Collect(first);
  EXPECT_TRUE(scheduler_.NextStep(now_)->empty());
  Collect(second);
}

TEST_F(SchedulerAheadTest, TheLastPieceOfAPromptIsCollectedFirst) {
  Prompt(100);
  const Step first = Submit(), last = Submit();
  EXPECT_EQ(last.batch.n_tokens(), 36);
  Collect(first);
  EXPECT_FALSE(scheduler_.NextStep(now_).has_value());
  Collect(last);
  EXPECT_TRUE(scheduler_.NextStep(now_).has_value());
}

TEST_F(SchedulerAheadTest, WhoIsRemovedKeepsItsBlocksUntilItsLastStepIsCollected) {
  Group& group = Decoding(10, 16);
  const int64_t held = pool_.used();
  const Step first = Submit(), second = Submit();
  scheduler_.Remove(group);
  EXPECT_EQ(scheduler_.running(), 0);
  Collect(first);
  EXPECT_EQ(pool_.used(), held);
  EXPECT_TRUE(Scheduler::IsVoid(second.groups[0]));
  Collect(second);
  EXPECT_EQ(pool_.used(), 0);
}

}  // namespace
}  // namespace longhaul
