#include "engine/backend/batch_check.h"

#include <gtest/gtest.h>

#include <climits>
#include <cmath>
#include <memory>
#include <vector>

#include "tests/support/hand_batch.h"

namespace longhaul {
namespace {

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

// Two groups of a row, of which the first is scored in its middle and the second draws, that are changed in one thing.
class BatchCheckTest : public ::testing::Test {
 protected:
  BatchCheckTest() {
    plan_->inv_freq = {1, 0.1};
    long_plan_->inv_freq = {1, 0.1, 0.01};
    const std::vector<TokenId> first = {1, 2, 3}, second = {4};
    AddGroup(batch_, {{.tokens = first, .length = 30, .blocks = blocks_, .plan = plan_}}, {}, std::vector<TokenId>{3});
    AddGroup(batch_, {{.tokens = second, .length = 47, .blocks = blocks_, .plan = plan_}}, Greedy());
  }

  template <class Change>
  absl::StatusCode With(Change change, const std::vector<bool>& drew = {false, true}) const {
    Batch batch = batch_;
    change(batch);
    return CheckBatch(batch, bounds_, drew).code();
  }

  // Both rows as one group that draws, changed in one thing.
  template <class Change>
  absl::StatusCode AsOneWith(Change change) const {
    return With([&](Batch& b) {
      Batch one;
      const std::vector<TokenId> first = {1, 2, 3}, second = {4};
      BatchDraw draw = Greedy();
      draw.merge = MergePolicy();
      AddGroup(one,
               {{.tokens = first, .length = 30, .blocks = blocks_, .plan = plan_},
                {.tokens = second, .length = 47, .blocks = blocks_, .plan = plan_}},
               draw);
      b = one;
      change(b);
    });
  }

  const BatchBounds bounds_{.limits = {.max_tokens = 4, .max_logit_rows = 2},
                            .geometry = {.block_tokens = 16, .ring_tokens = 32, .block_bytes = 1, .n_blocks = 8},
                            .head_dim = 4,
                            .vocabulary_size = 5};
  const std::vector<BlockId> blocks_ = {7, 0, 3};
  const std::shared_ptr<RotaryPlan> plan_ = std::make_shared<RotaryPlan>(), long_plan_ = std::make_shared<RotaryPlan>();
  Batch batch_;
};

TEST_F(BatchCheckTest, AcceptsWhatFits) {
  EXPECT_EQ(With([](Batch&) {}), absl::StatusCode::kOk);
  EXPECT_EQ(With([](Batch& b) { b.tokens[3] = DrawnBy(1); }), absl::StatusCode::kOk);
  EXPECT_EQ(AsOneWith([](Batch&) {}), absl::StatusCode::kOk);
}

TEST_F(BatchCheckTest, RefusesWhatExceedsTheLimits) {
  Batch batch = batch_;
  BatchBounds bounds = bounds_;
  bounds.limits.max_tokens = 3;
  EXPECT_EQ(CheckBatch(batch, bounds, {}).code(), kInvalid);
  bounds = bounds_;
  bounds.limits.max_logit_rows = 1;
  EXPECT_EQ(CheckBatch(batch, bounds, {}).code(), kInvalid);
}

TEST_F(BatchCheckTest, RefusesWhatAKernelWouldFollowOutOfItsMemory) {
  EXPECT_EQ(With([](Batch& b) { b = Batch(); }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.tokens[2] = 5; }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.tokens.push_back(0); }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.tokens.pop_back(); }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.positions[1] = 30; }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.positions.pop_back(); }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.row_of[3] = 0; }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.row_of.clear(); }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.rows[0].n_new = 4; }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.rows[1].n_new = 0; }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.rows[1].n_new = INT64_MAX; }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.rows[1].first_token = 2; }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.rows[0].length = -1; }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.rows[1].length = b.positions[3] = 48; }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.rows[1].length = b.positions[3] = INT64_MAX; }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.rows[1].n_blocks = 2; }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.rows[1].n_blocks = 4; }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.rows[1].first_block = -1; }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.rows[1].first_block = INT64_MAX; }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.rows[1].n_ring_blocks = 1; }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.block_ids[1] = 8; }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.block_ids[1] = -1; }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.rows[1].plan = 1; }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.rows[1].plan = -1; }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.plans[0] = nullptr; }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.plans.resize(b.rows.size() + 1, b.plans[0]); }), kInvalid);
  EXPECT_EQ(With([&](Batch& b) { b.plans[0] = long_plan_; }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.groups = {{.first_row = 0, .n_rows = 3}}; }), kInvalid) << "more rows than there are";
  EXPECT_EQ(With([](Batch& b) { b.groups[1].first_row = 0; }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.groups[1].first_row = 2; }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.groups[0].n_rows = 2; }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.groups[0].n_rows = 0; }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.groups.pop_back(); }), kInvalid) << "a row of no group";
}

TEST_F(BatchCheckTest, ARingMustHoldTheWindow) {
  const auto far = std::make_shared<RotaryPlan>(*plan_);
  far->far = FarRegime{.window = 20};
  EXPECT_EQ(With([&](Batch& b) { b.plans[0] = far; }), kInvalid);
  const auto with_ring = [&](int64_t n) {
    return With([&](Batch& b) {
      b.plans[0] = far;
      for (BatchRow& row : b.rows) {
        row.first_ring_block = static_cast<int64_t>(b.block_ids.size());
        row.n_ring_blocks = n;
        for (int64_t i = 0; i < n; ++i) b.block_ids.push_back(static_cast<BlockId>(i));
      }
    });
  };
  EXPECT_EQ(with_ring(1), kInvalid);
  EXPECT_EQ(with_ring(2), absl::StatusCode::kOk);
  far->far->window = 0;
  EXPECT_EQ(with_ring(2), kInvalid);
}

TEST_F(BatchCheckTest, WantedLogitsAreOfTheGroupsOwnTokens) {
  EXPECT_EQ(With([](Batch& b) { b.wanted[0].token = 3; }), kInvalid) << "another group's";
  EXPECT_EQ(With([](Batch& b) { b.wanted[0].token = -1; }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.wanted[0].target = 5; }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.wanted[0].target = WantedLogits::kSampled; }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.wanted[1].token = 2; }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.wanted[1].target = 0; }), kInvalid) << "drawn from and scored";
  EXPECT_EQ(With([](Batch& b) { b.wanted.pop_back(); }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.wanted.push_back({3, 0}); }), kInvalid) << "of no group";
  EXPECT_EQ(With([](Batch& b) { b.groups[0].n_scored = 2; }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.groups[0].n_scored = -1; }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.groups[1].first_wanted = 0; }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.groups[0].top_scores = -1; }), kInvalid);
}

TEST_F(BatchCheckTest, ATokenOfTheStepBeforeMustHaveBeenDrawnThere) {
  const auto drawn_by = [](int32_t group) { return [group](Batch& b) { b.tokens[3] = DrawnBy(group); }; };
  EXPECT_EQ(With(drawn_by(0)), kInvalid);
  EXPECT_EQ(With(drawn_by(2)), kInvalid);
  EXPECT_EQ(With(drawn_by(INT32_MAX)), kInvalid);
  EXPECT_EQ(With(drawn_by(1), {}), kInvalid) << "there was no step before";
  EXPECT_EQ(With([](Batch& b) { b.tokens[2] = DrawnBy(1); }), kInvalid) << "among others of a prompt";
}

TEST_F(BatchCheckTest, ADrawHasParametersAndAWayToMerge) {
  EXPECT_EQ(With([](Batch& b) { b.groups[1].draw->spec = nullptr; }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.groups[1].draw->forced = 5; }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.groups[1].draw->n_counts = 1; }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.groups[1].draw->merge = MergePolicy(); }), kInvalid) << "of one row";
  EXPECT_EQ(AsOneWith([](Batch& b) { b.groups[0].draw->merge.reset(); }), kInvalid);
  EXPECT_EQ(AsOneWith([](Batch& b) { b.groups[0].draw->previous = 2; }), kInvalid);
  for (const NbceParams& bad :
       {NbceParams{.beta = -2}, NbceParams{.beta = std::nanf("")}, NbceParams{.top_p = 0}, NbceParams{.top_p = 2}}) {
    EXPECT_EQ(AsOneWith([&](Batch& b) { b.groups[0].draw->merge->params = bad; }), kInvalid);
  }
}

}  // namespace
}  // namespace longhaul
