#include "engine/scheduling/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <numeric>
#include <random>
#include <set>
#include <vector>

namespace longhaul {
namespace {

using ::testing::ElementsAre;

// A scheduler over a pool of blocks, and requests that are told by a word.
class SchedulerTest : public ::testing::Test {
 protected:
  Group& Prompt(int64_t tokens, int64_t answer = 16, int n_rows = 1) {
    auto group = std::make_unique<Group>();
    for (int r = 0; r < n_rows; ++r) group->rows.emplace_back(Text(tokens), plan_, pool_);
    group->capacity = tokens + answer;
    group->sampler = &sampler_;
    groups_.push_back(std::move(group));
    scheduler_.Add(*groups_.back());
    return *groups_.back();
  }
  Group& Score(int64_t tokens, int64_t from) {
    Group& group = Prompt(tokens, 0);
    group.sampler = nullptr;
    group.score_from = from;
    return group;
  }
  static std::vector<TokenId> Text(int64_t tokens) {
    std::vector<TokenId> text(static_cast<size_t>(tokens));
    std::iota(text.begin(), text.end(), 100);
    return text;
  }
  // New tokens of each row of the next step.
  std::vector<int64_t> NextStep() {
    std::vector<int64_t> n_new;
    for (const BatchRow& row : scheduler_.NextBatch().rows) n_new.push_back(row.n_new);
    return n_new;
  }
  // Ends the step as an engine does: each group that was due gets a token.
  void Finish() {
    const Batch batch = scheduler_.batch();
    scheduler_.StepDone();
    for (size_t g = 0; g < batch.groups.size(); ++g) {
      if (batch.groups[g].sampler == nullptr) continue;
      for (Sequence& row : scheduler_.scheduled()[g]->rows) row.tokens.push_back(7);
    }
  }

  RotaryPlan plan_;
  SamplerInput sampler_;
  BlockPool pool_{64};
  std::vector<std::unique_ptr<Group>> groups_;
  Scheduler scheduler_{{.max_tokens = 64, .max_logit_rows = 32, .max_rows = 32}, pool_};
};

TEST_F(SchedulerTest, ReadsALongPromptInChunksAndAsksForLogitsAtItsEndOnly) {
  Prompt(150);
  EXPECT_THAT(NextStep(), ElementsAre(64));
  EXPECT_EQ(scheduler_.batch().n_logit_rows(), 0);
  Finish();
  EXPECT_THAT(NextStep(), ElementsAre(64));
  EXPECT_EQ(scheduler_.batch().groups[0].sampler, nullptr);
  Finish();
  EXPECT_THAT(NextStep(), ElementsAre(22));
  EXPECT_EQ(scheduler_.batch().n_logit_rows(), 1);
  EXPECT_EQ(scheduler_.batch().rows[0].length, 128);
  EXPECT_EQ(scheduler_.batch().positions.front(), 128);
  EXPECT_EQ(scheduler_.batch().groups[0].sampler, &sampler_);
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

TEST_F(SchedulerTest, AdmitsInOrderAndOnlyWhatFitsWhole) {
  Group& first = Prompt(16 * 40, 16 * 20);  // 60 of 64 blocks
  Prompt(16 * 8);                           // 9 blocks: waits
  Prompt(16);                               // would fit, and waits its turn
  EXPECT_THAT(NextStep(), ElementsAre(64));
  EXPECT_EQ(scheduler_.running(), 1);
  EXPECT_EQ(scheduler_.waiting(), 2);
  EXPECT_EQ(pool_.free(), 4);
  scheduler_.Remove(first);
  EXPECT_EQ(pool_.free(), 64);
  NextStep();
  EXPECT_EQ(scheduler_.waiting(), 0);
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
  EXPECT_EQ(scheduler_.batch().n_logit_rows(), 0);
  Finish();
  EXPECT_THAT(NextStep(), ElementsAre(1, 15, 40));
  EXPECT_EQ(scheduler_.batch().n_logit_rows(), 3);
  EXPECT_EQ(scheduler_.batch().groups[0].n_rows, 3);
  Finish();
  EXPECT_THAT(NextStep(), ElementsAre(1, 1, 1));
  EXPECT_EQ(group.rows[2].n_computed, 40);
}

TEST_F(SchedulerTest, ScoresEveryTokenFromTheAskedOneWithinTheLimitOfLogitRows) {
  Score(60, 11);
  EXPECT_THAT(NextStep(), ElementsAre(32));
  EXPECT_EQ(scheduler_.batch().rows[0].first_logit, 10);
  EXPECT_EQ(scheduler_.batch().n_logit_rows(), 22);
  EXPECT_EQ(scheduler_.batch().targets.front(), 100 + 11);
  Finish();
  EXPECT_THAT(NextStep(), ElementsAre(27));  // the last token's logits are wanted by nobody
  EXPECT_EQ(scheduler_.batch().targets.back(), 100 + 59);
  Finish();
  EXPECT_THAT(NextStep(), ElementsAre());
}

TEST_F(SchedulerTest, RandomTrafficLosesNoBlockAndServesEveryone) {
  std::mt19937 random(1);
  const auto pick = [&](int low, int high) { return std::uniform_int_distribution<int>(low, high)(random); };
  int finished = 0, submitted = 0;
  std::set<Group*> live;
  for (int step = 0; step < 20000 && finished < 1000; ++step) {
    if (submitted < 1000 && pick(0, 2) == 0) {
      Group& group = pick(0, 4) == 0 ? Score(pick(2, 300), pick(1, 2)) : Prompt(pick(1, 300), pick(1, 40), pick(1, 3));
      if (!scheduler_.CanEverFit(group)) {
        scheduler_.Remove(group);
      } else {
        live.insert(&group);
      }
      ++submitted;
      if (!live.contains(&group)) ++finished;
    }
    for (Group* group : live) group->paused = pick(0, 9) == 0;
    const Batch& batch = scheduler_.NextBatch();
    ASSERT_LE(batch.n_tokens(), 64);
    ASSERT_LE(batch.n_logit_rows(), 32);
    std::set<BlockId> held;
    int64_t n_held = 0;
    for (Group* group : live) {
      for (Sequence& row : group->rows) {
        held.insert(row.blocks.blocks().begin(), row.blocks.blocks().end());
        n_held += static_cast<int64_t>(row.blocks.blocks().size());
      }
    }
    ASSERT_EQ(static_cast<int64_t>(held.size()), n_held) << "a block is held twice";
    ASSERT_EQ(n_held, pool_.used()) << "a block is lost";
    for (size_t r = 0; r < batch.rows.size(); ++r) {
      const BatchRow& row = batch.rows[r];
      ASSERT_LE(row.length + row.n_new, static_cast<int64_t>(row.block_table.size()) * kBlockTokens);
    }
    Finish();
    std::vector<Group*> ended;
    for (Group* group : live) {
      const bool done = group->score_from > 0 ? group->Remaining() == 0
                                              : static_cast<int64_t>(group->rows[0].tokens.size()) >= group->capacity;
      if (done || pick(0, 499) == 0) ended.push_back(group);
    }
    for (Group* group : ended) {
      scheduler_.Remove(*group);
      live.erase(group);
      ++finished;
    }
  }
  EXPECT_EQ(finished, 1000);
  EXPECT_EQ(pool_.used(), 0);
}

}  // namespace
}  // namespace longhaul
