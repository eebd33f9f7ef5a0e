#include "engine/scheduling/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/engine/scheduling/scheduler_fixture.h"

namespace longhaul {
namespace {

using ::testing::ElementsAre;

TEST_F(SchedulerTest, ReadsALongPromptInChunksAndAsksForLogitsAtItsEndOnly) {
  Prompt(150);
  EXPECT_THAT(NextStep(), ElementsAre(64));
  EXPECT_EQ(batch().n_logit_rows(), 0);
  Finish();
  EXPECT_THAT(NextStep(), ElementsAre(64));
  EXPECT_FALSE(batch().groups[0].draw.has_value());
  Finish();
  EXPECT_THAT(NextStep(), ElementsAre(22));
  EXPECT_EQ(batch().n_logit_rows(), 1);
  EXPECT_EQ(batch().rows[0].length, 128);
  EXPECT_EQ(batch().positions.front(), 128);
  EXPECT_TRUE(batch().groups[0].draw.has_value());
  Finish();
  EXPECT_THAT(NextStep(), ElementsAre(1));
}

TEST_F(SchedulerTest, DecodesFirstAndFillsTheRestWithPrompts) {
  Prompt(10);
  NextStep();
  Finish();
  Prompt(100);
  EXPECT_THAT(NextStep(), ElementsAre(1, 63));
  Finish();
  EXPECT_THAT(NextStep(), ElementsAre(1, 37));
}

TEST_F(SchedulerTest, ShortPromptsDoNotWaitForALongOne) {
  Prompt(500);
  EXPECT_THAT(NextStep(), ElementsAre(64));
  Finish();
  Prompt(90);
  Prompt(6);
  Prompt(8);
  EXPECT_THAT(NextStep(), ElementsAre(32, 6, 8, 18));  // half for the first, then who needs least
  Finish();
  EXPECT_THAT(NextStep(), ElementsAre(1, 1, 31, 31));
}

TEST_F(SchedulerTest, OfEqualPromptsTheFirstIsReadFirst) {
  for (int i = 0; i < 3; ++i) Prompt(100);
  EXPECT_THAT(NextStep(), ElementsAre(64));
  Finish();
  EXPECT_THAT(NextStep(), ElementsAre(36, 28));
}

TEST_F(SchedulerTest, AShortPromptOfLowerPriorityWaits) {
  PromptOf("a", 100);
  PromptOf("a", 10, -1);
  EXPECT_THAT(NextStep(), ElementsAre(64));
}

TEST_F(SchedulerTest, ALongPromptIsReadHoweverManyShortOnesCome) {
  Group& first = Prompt(500);
  for (int step = 0; step < 10; ++step) {
    Group& shorter = Prompt(60);
    NextStep();
    Finish();
    scheduler_.Remove(shorter);
  }
  EXPECT_EQ(first.rows[0].n_computed, 10 * 32);
}

TEST_F(SchedulerTest, AdmitsWhatHasRoomForItsPromptAndGrowsIt) {
  Group& first = Prompt(16 * 40, 16 * 20);
  PromptOf("b", 16 * 30);  // no room
  PromptOf("c", 16);       // may pass it
  EXPECT_THAT(NextStep(), ElementsAre(48, 16));
  EXPECT_EQ(scheduler_.running(), 2);
  EXPECT_EQ(scheduler_.waiting(), 1);
  EXPECT_EQ(pool_.used(), 41);
  scheduler_.Remove(first);
  NextStep();
  EXPECT_EQ(scheduler_.waiting(), 0);
  EXPECT_EQ(pool_.used(), 31);
}

TEST_F(SchedulerTest, KeepsWhatBecomesFreeForWhoHasWaitedTooLong) {
  Prompt(16 * 40);
  NextStep();
  Group& large = PromptOf("b", 16 * 50);
  PromptOf("c", 16);
  NextStep();
  EXPECT_EQ(scheduler_.running(), 2) << "the small one passed";
  now_ += 6;  // longer than reserve_after
  PromptOf("d", 16);
  NextStep();
  EXPECT_EQ(scheduler_.running(), 2) << "and none passes any more";
  scheduler_.Remove(*groups_[0]);
  NextStep();
  EXPECT_EQ(large.not_fitting_since, std::nullopt);
  EXPECT_EQ(scheduler_.running(), 3);
}

TEST_F(SchedulerTest, PreemptsTheYoungestAndReadsItAgain) {
  Group& old = Prompt(16 * 30, 16 * 30);
  Group& young = Prompt(16 * 31, 16 * 30);
  while (!old.Decodes() || !young.Decodes()) {
    NextStep();
    Finish();
  }
  // 61 of 64 blocks are held, and both grow.
  while (scheduler_.stats().preemptions == 0) {
    ASSERT_THAT(NextStep(), testing::Not(testing::IsEmpty()));
    Finish();
  }
  EXPECT_EQ(young.preemptions, 1);
  EXPECT_EQ(old.preemptions, 0);
  EXPECT_EQ(scheduler_.waiting(), 1);
  const size_t tokens = young.rows[0].tokens.size();
  while (!young.Decodes()) {
    NextStep();
    Finish();
    if (old.rows[0].tokens.size() == 16 * 60 && scheduler_.running() > 0 && !old.rows[0].blocks.blocks().empty()) {
      scheduler_.Remove(old);
    }
  }
  EXPECT_EQ(young.rows[0].tokens.size(), tokens) << "it keeps what it had";
}

TEST_F(SchedulerTest, PreemptsTheLowestPriorityFirst) {
  Group& low = PromptOf("a", 16 * 28, -1);
  Group& high = PromptOf("b", 16 * 30, 1);
  low.max_new_tokens = 16 * 32, high.max_new_tokens = 16 * 30;
  for (int i = 0; i < 1000 && scheduler_.stats().preemptions == 0; ++i) {
    NextStep();
    Finish();
  }
  EXPECT_EQ(low.preemptions, 1);
  EXPECT_EQ(high.preemptions, 0);
}

TEST_F(SchedulerTest, TakesWhatIsCachedAndComputesTheRest) {
  Group& first = Prompt(100);
  while (!first.Decodes()) {
    NextStep();
    Finish();
  }
  Group& again = Make(1, 16, 1);
  again.rows[0].tokens = first.rows[0].tokens;
  again.rows[0].tokens.resize(96);
  EXPECT_EQ(scheduler_.CachedTokens(again), 80) << "never the last token";
  scheduler_.Add(again, now_);
  EXPECT_THAT(NextStep(), ElementsAre(1, 16));
  EXPECT_EQ(again.cached_tokens, 80);
  EXPECT_EQ(again.rows[0].blocks.blocks()[4], first.rows[0].blocks.blocks()[4]);
  EXPECT_NE(again.rows[0].blocks.blocks()[5], first.rows[0].blocks.blocks()[5]);
  // Another scope and another plan share nothing.
  Group& other = Make(1, 16, 1);
  other.rows[0].tokens = first.rows[0].tokens;
  other.scope = 1;
  EXPECT_EQ(scheduler_.CachedTokens(other), 0);
  RotaryPlan plan;
  plan.inv_freq = {1};
  SetFingerprint(plan);
  other.scope = 0;
  other.rows[0].plan = std::make_shared<const RotaryPlan>(plan);
  EXPECT_EQ(scheduler_.CachedTokens(other), 0);
}

TEST_F(SchedulerTest, APromptWhoseScoresAreWantedIsNotTakenFromTheCache) {
  Group& first = Prompt(100);
  while (!first.Decodes()) {
    NextStep();
    Finish();
  }
  Group& score = Make(1, 0, 1);
  score.rows[0].tokens = first.rows[0].tokens;
  score.draws = nullptr;
  score.score_from = 40;
  EXPECT_EQ(scheduler_.CachedTokens(score), 32);
  score.score_from = 1;
  EXPECT_EQ(scheduler_.CachedTokens(score), 0);
}

TEST_F(SchedulerTest, ATextThatIsPreemptedWhileItIsScoredHasEveryTokenScoredOnce) {
  Group& senior = PromptOf("a", 16 * 50, 1);
  senior.max_new_tokens = 16 * 10;
  while (!senior.Decodes()) {
    NextStep();
    Finish();
  }
  Group& score = Score(16 * 10, 1);
  std::vector<int64_t> scored;
  for (int step = 0; step < 200 && score.Remaining() > 0; ++step) {
    score.paused = step > 2 && score.preemptions == 0;  // it waits half done, while the other grows
    if (score.preemptions == 1 && scheduler_.running() > 0 && !senior.rows[0].blocks.blocks().empty()) {
      scheduler_.Remove(senior);
    }
    NextStep();
    for (size_t g = 0; g < step_.groups.size(); ++g) {
      if (step_.groups[g].group != &score) continue;
      for (const WantedLogits& wanted : batch().Scored(batch().groups[g])) {
        scored.push_back(batch().positions[static_cast<size_t>(wanted.token)] + 1);
      }
    }
    Finish();
    if (!scored.empty()) score.score_from = scored.back() + 1;
  }
  EXPECT_EQ(score.preemptions, 1);
  std::vector<int64_t> expected(16 * 10 - 1);
  std::iota(expected.begin(), expected.end(), 1);
  EXPECT_EQ(scored, expected);
}

TEST_F(SchedulerTest, AGreedyClientDoesNotStarveAnother) {
  for (int i = 0; i < 6; ++i) PromptOf("greedy", 16 * 25);
  NextStep();
  Finish();
  ASSERT_EQ(scheduler_.running(), 2);
  Group& modest = PromptOf("modest", 16 * 25);
  NextStep();
  Finish();
  scheduler_.Remove(*groups_[0]);
  NextStep();
  EXPECT_EQ(scheduler_.running(), 2);
  EXPECT_EQ(modest.rows[0].blocks.blocks().size(), 25u) << "admitted before what the greedy one had queued earlier";
}

TEST_F(SchedulerTest, LargerPriorityGoesFirstAndWaitingRaisesIt) {
  PromptOf("a", 16 * 60);
  NextStep();
  Group& low = PromptOf("b", 16 * 60, 0);
  Group& high = PromptOf("c", 16 * 60, 3);
  scheduler_.Remove(*groups_[0]);
  NextStep();
  EXPECT_FALSE(high.rows[0].blocks.blocks().empty());
  Group& higher = PromptOf("d", 16 * 60, 3);
  now_ += 35;  // three levels and a half
  Group& late = PromptOf("e", 16 * 60, 3);
  scheduler_.Remove(high);
  scheduler_.Remove(higher);
  NextStep();
  EXPECT_FALSE(low.rows[0].blocks.blocks().empty());
  EXPECT_TRUE(late.rows[0].blocks.blocks().empty());
}

TEST_F(SchedulerTest, KnowsWhatCanNeverFit) {
  EXPECT_TRUE(scheduler_.CanEverFit(Prompt(16 * 60, 16 * 4)));
  EXPECT_FALSE(scheduler_.CanEverFit(Prompt(16 * 60, 16 * 4 + 1)));
  EXPECT_FALSE(scheduler_.CanEverFit(Prompt(1, 1, 33)));
}

TEST_F(SchedulerTest, LeavesAPausedGroupAlone) {
  Group& slow = Prompt(8);
  Prompt(9);
  slow.paused = true;
  EXPECT_THAT(NextStep(), ElementsAre(9));
  Finish();
  slow.paused = false;
  EXPECT_THAT(NextStep(), ElementsAre(1, 8));
}

TEST_F(SchedulerTest, TheLastTokensOfAGroupFallIntoOneStep) {
  Group& group = Prompt(40, 16, 3);
  // 120 tokens do not fit into 64: every row keeps its last token back.
  EXPECT_THAT(NextStep(), ElementsAre(39, 25));
  EXPECT_EQ(batch().n_logit_rows(), 0);
  Finish();
  EXPECT_THAT(NextStep(), ElementsAre(1, 15, 40));
  EXPECT_EQ(batch().n_logit_rows(), 3);
  EXPECT_EQ(batch().groups[0].n_rows, 3);
  Finish();
  EXPECT_THAT(NextStep(), ElementsAre(1, 1, 1));
  EXPECT_EQ(group.rows[2].n_computed, 40);
}

TEST_F(SchedulerTest, ScoresEveryTokenFromTheAskedOneWithinTheLimitOfLogitRows) {
  Score(60, 11);
  EXPECT_THAT(NextStep(), ElementsAre(32));
  EXPECT_EQ(batch().wanted.front().token, 10);
  EXPECT_EQ(batch().n_logit_rows(), 22);
  EXPECT_EQ(batch().wanted.front().target, 100 + 11);
  Finish();
  EXPECT_THAT(NextStep(), ElementsAre(27));  // the last token's logits are wanted by nobody
  EXPECT_EQ(batch().wanted.back().target, 100 + 59);
  Finish();
  EXPECT_THAT(NextStep(), ElementsAre());
}

}  // namespace
}  // namespace longhaul
