#include "engine/scheduling/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <numeric>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace longhaul {
namespace {

using ::testing::ElementsAre;

// A scheduler over a pool of blocks, and requests that are told by a word.
class SchedulerTest : public ::testing::Test {
 protected:
  Group& Make(int64_t tokens, int64_t answer, int n_rows) {
    auto group = std::make_unique<Group>();
    for (int r = 0; r < n_rows; ++r) group->rows.emplace_back(Text(tokens), plan_, pool_);
    group->max_new_tokens = answer;
    group->sampler = &sampler_;
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
    group.sampler = nullptr;
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
    for (const BatchRow& row : scheduler_.NextBatch(now_).rows) n_new.push_back(row.n_new);
    return n_new;
  }
  // Ends the step as an engine does: each group that was due gets a token.
  void Finish() {
    const Batch batch = scheduler_.batch();
    scheduler_.StepDone(1e-3);
    now_ += 1e-3;
    for (size_t g = 0; g < batch.groups.size(); ++g) {
      if (batch.groups[g].sampler == nullptr) continue;
      for (Sequence& row : scheduler_.scheduled()[g]->rows) row.tokens.push_back(7);
    }
  }

  RotaryPlan plan_;
  SamplerInput sampler_;
  BlockPool pool_{64};
  double now_ = 0;
  int n_texts_ = 0;
  std::vector<std::unique_ptr<Group>> groups_;
  // A step may take as long as it likes where a test does not say otherwise.
  Scheduler scheduler_{{.max_tokens = 64, .max_logit_rows = 32, .max_rows = 32, .step_target = 1e6}, pool_};
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
  RotaryPlan plan = plan_;
  plan.inv_freq = {1};
  SetFingerprint(plan);
  other.scope = 0;
  other.rows[0].plan = &plan;
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
  score.sampler = nullptr;
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
    const Batch batch = scheduler_.NextBatch(now_);
    for (size_t g = 0; g < batch.groups.size(); ++g) {
      if (scheduler_.scheduled()[g] != &score) continue;
      const BatchRow& row = batch.rows[static_cast<size_t>(batch.groups[g].first_row)];
      for (int64_t i = row.first_logit; i < row.n_new; ++i) scored.push_back(row.length + i + 1);
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

TEST_F(SchedulerTest, APromptFillsTheTimeThatDecodingLeaves) {
  BlockPool pool(4096);
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
  decoding.sampler = reading.sampler = &sampler_;
  scheduler.Add(decoding, 0);
  std::vector<double> steps;
  for (int i = 0; i < 600; ++i) {
    if (i == 40) scheduler.Add(reading, i);
    const Batch& batch = scheduler.NextBatch(i);
    ASSERT_FALSE(batch.rows.empty());
    const double taken = seconds(batch);
    if (i > 100 && batch.rows.size() == 2) steps.push_back(taken);
    scheduler.StepDone(taken);
    for (Group* group : scheduler.scheduled()) {
      if (group == &decoding) group->rows[0].tokens.push_back(7);
    }
  }
  ASSERT_GT(steps.size(), 300u);
  for (double step : steps) ASSERT_NEAR(step, 0.05, 0.01);
}

// A machine that takes 2 ms a step and 1 ms a token.
double SecondsOf(const Batch& batch) {
  return 2e-3 + 1e-3 * static_cast<double>(batch.n_tokens());
}

TEST_F(SchedulerTest, PromptsAloneAreBoundedInTimeButNotToATokenAStep) {
  BlockPool pool(4096);
  for (const double step_target : {0.03, 1e-4}) {
    Scheduler scheduler({.max_tokens = 512, .max_logit_rows = 32, .max_rows = 32, .step_target = step_target}, pool);
    Group group;
    group.rows.emplace_back(Text(20000), plan_, pool);
    group.max_new_tokens = 1;
    group.sampler = &sampler_;
    scheduler.Add(group, 0);
    for (int i = 0; i < 50; ++i) scheduler.StepDone(SecondsOf(scheduler.NextBatch(i)));
    // Five times the target, or five times two steps of a token each.
    EXPECT_NEAR(SecondsOf(scheduler.NextBatch(50)), 5 * std::max(step_target, 2 * 3e-3), 0.01) << step_target;
    scheduler.Remove(group);
  }
}

TEST_F(SchedulerTest, TheFirstPromptHasHalfOfTheTimeBesideShorterOnes) {
  BlockPool pool(4096);
  Scheduler scheduler({.max_tokens = 512, .max_logit_rows = 32, .max_rows = 32, .step_target = 0.05}, pool);
  std::vector<std::unique_ptr<Group>> prompts;
  for (const int64_t tokens : {20000, 9000, 8000}) {
    prompts.push_back(std::make_unique<Group>());
    prompts.back()->rows.emplace_back(Text(tokens), plan_, pool);
    prompts.back()->sampler = &sampler_;
    scheduler.Add(*prompts.back(), 0);
  }
  for (int i = 0; i < 30; ++i) scheduler.StepDone(SecondsOf(scheduler.NextBatch(i)));
  const Batch& batch = scheduler.NextBatch(30);
  EXPECT_NEAR(SecondsOf(batch), 0.25, 0.02);
  ASSERT_GE(batch.rows.size(), 2u);
  EXPECT_EQ(scheduler.scheduled()[1], prompts[2].get());
  EXPECT_NEAR(static_cast<double>(batch.rows[0].n_new), static_cast<double>(batch.rows[1].n_new), 12);
}

TEST_F(SchedulerTest, AMachineThatBecomesSlowerGetsSmallerSteps) {
  BlockPool pool(4096);
  Scheduler scheduler({.max_tokens = 512, .max_logit_rows = 32, .max_rows = 32, .step_target = 0.02}, pool);
  Group group;
  group.rows.emplace_back(Text(60000), plan_, pool);
  group.sampler = &sampler_;
  scheduler.Add(group, 0);
  for (int i = 0; i < 300; ++i) scheduler.StepDone(SecondsOf(scheduler.NextBatch(i)));
  for (int i = 300; i < 330; ++i) scheduler.StepDone(3 * SecondsOf(scheduler.NextBatch(i)));
  EXPECT_NEAR(3 * SecondsOf(scheduler.NextBatch(330)), 0.1, 0.02);
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

// 100,000 requests of all kinds, most of which share beginnings, in a cache that is much too small for them.
TEST_F(SchedulerTest, RandomTrafficLosesNoBlockKeepsTheLimitsAndServesEveryone) {
  std::mt19937 random(1);
  const auto pick = [&](int low, int high) { return std::uniform_int_distribution<int>(low, high)(random); };
  BlockPool pool(264);
  const SchedulerLimits limits{.max_tokens = 300, .max_logit_rows = 280, .max_rows = 257};
  Scheduler scheduler(limits, pool);
  constexpr int kRequests = 100000;
  int finished = 0, submitted = 0;
  std::map<Group*, std::unique_ptr<Group>> live;
  std::map<Group*, double> arrived;
  double now = 0, longest = 0;
  std::vector<std::vector<TokenId>> texts;
  for (int i = 0; i < 20; ++i) texts.push_back(Text(400));
  while (finished < kRequests) {
    while (submitted < kRequests && live.size() < 50) {
      auto group = std::make_unique<Group>();
      const int kind = pick(0, 199);
      const int n_rows = kind == 0 ? 257 : kind < 6 ? 17 : 1;
      const int tokens = n_rows > 17 ? pick(1, 8) : n_rows > 1 ? pick(1, 60) : pick(1, 30) * pick(1, 10);
      const std::vector<TokenId>& text = texts[static_cast<size_t>(pick(0, 19))];
      for (int r = 0; r < n_rows; ++r)
        group->rows.emplace_back(std::vector(text.begin(), text.begin() + tokens), plan_, pool);
      group->max_new_tokens = (n_rows > 1 ? pick(1, 4) : pick(0, 5) == 0 ? pick(1, 400) : pick(1, 24));
      group->client = std::string(1, static_cast<char>('a' + pick(0, 4)));
      group->priority = pick(-2, 2);
      if (kind > 150 && tokens > 1) {
        group->score_from = pick(1, tokens - 1);
        group->max_new_tokens = 0;
      } else {
        group->sampler = &sampler_;
      }
      ++submitted;
      if (!scheduler.CanEverFit(*group)) {
        ++finished;
        continue;
      }
      scheduler.Add(*group, now);
      arrived[group.get()] = now;
      live.emplace(group.get(), std::move(group));
    }
    if (pick(0, 3) == 0) {
      for (auto& [group, owned] : live) group->paused = pick(0, 9) == 0;
    }
    const Batch batch = scheduler.NextBatch(now);
    ASSERT_LE(batch.n_tokens(), limits.max_tokens);
    ASSERT_LE(batch.n_logit_rows(), limits.max_logit_rows);
    ASSERT_LE(scheduler.running_rows(), limits.max_rows);
    if (finished % 50 == 0) {
      std::map<BlockId, int> holders;
      for (auto& [group, owned] : live) {
        for (const Sequence& row : group->rows) {
          for (BlockId block : row.blocks.blocks()) ++holders[block];
        }
      }
      ASSERT_EQ(static_cast<int64_t>(holders.size()), pool.used()) << "a block is lost";
      std::set<BlockId> written;
      for (const BatchRow& row : batch.rows) {
        ASSERT_LE(row.length + row.n_new, static_cast<int64_t>(row.block_table.size()) * kBlockTokens);
        for (int64_t b = row.length / kBlockTokens; b * kBlockTokens < row.length + row.n_new; ++b) {
          const BlockId block = row.block_table[static_cast<size_t>(b)];
          ASSERT_EQ(holders[block], 1) << "a shared block is written to";
          ASSERT_TRUE(written.insert(block).second);
        }
      }
    }
    const bool any_paused = std::any_of(live.begin(), live.end(), [](const auto& l) { return l.first->paused; });
    ASSERT_TRUE(!batch.rows.empty() || any_paused) << "nothing runs";
    scheduler.StepDone(1e-3 * (1 + static_cast<double>(batch.n_tokens()) / 10));
    now += 0.01;
    for (size_t g = 0; g < batch.groups.size(); ++g) {
      if (batch.groups[g].sampler == nullptr) continue;
      const TokenId token = pick(0, 5);
      for (Sequence& row : scheduler.scheduled()[g]->rows) row.tokens.push_back(token);
    }
    for (auto at = live.begin(); at != live.end();) {
      Group& group = *at->first;
      const bool done = group.score_from > 0
                            ? group.Remaining() == 0
                            : static_cast<int64_t>(group.rows[0].tokens.size()) >= group.Capacity(group.rows[0]);
      if (!done && pick(0, 4999) != 0) {
        ++at;
        continue;
      }
      longest = std::max(longest, now - arrived[&group]);
      arrived.erase(&group);
      scheduler.Remove(group);
      at = live.erase(at);
      ++finished;
    }
  }
  EXPECT_EQ(pool.used(), 0);
  EXPECT_GT(scheduler.stats().preemptions, 100);
  EXPECT_GT(scheduler.stats().cached_prompt_tokens, 100000);
  EXPECT_GT(scheduler.cache().evictions(), 1000);
  EXPECT_LT(longest, now / 8) << "somebody starves";
}

}  // namespace
}  // namespace longhaul
