#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "tests/engine/scheduling/scheduler_fixture.h"

namespace longhaul {
namespace {

using RandomTrafficTest = SchedulerTest;

// 100,000 requests of all kinds, most of which share beginnings, in a cache that is much too small for them.
TEST_F(RandomTrafficTest, LosesNoBlockKeepsTheLimitsAndServesEveryone) {
  std::mt19937 random(1);
  const auto pick = [&](int low, int high) { return std::uniform_int_distribution<int>(low, high)(random); };
  BlockPool pool(GeometryOf(264));
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
        group->draws = &draws_;
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
    const Step step = scheduler.NextStep(now).value();
    const Batch& batch = step.batch;
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
        ASSERT_LE(row.length + row.n_new, row.n_blocks * kBlock);
        for (int64_t b = row.length / kBlock; b * kBlock < row.length + row.n_new; ++b) {
          const BlockId block = batch.Blocks(row)[static_cast<size_t>(b)];
          ASSERT_EQ(holders[block], 1) << "a shared block is written to";
          ASSERT_TRUE(written.insert(block).second);
        }
      }
    }
    const bool any_paused = std::any_of(live.begin(), live.end(), [](const auto& l) { return l.first->paused; });
    ASSERT_TRUE(!batch.rows.empty() || any_paused) << "nothing runs";
    scheduler.OnSubmitted(step);
    scheduler.StepDone(step, 1e-3 * (1 + static_cast<double>(batch.n_tokens()) / 10));
    now += 0.01;
    for (const Step::GroupPart& part : step.groups) {
      if (!part.draws) continue;
      const TokenId token = pick(0, 5);
      for (Sequence& row : part.group->rows) row.tokens.push_back(token);
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
