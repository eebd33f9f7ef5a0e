#include "engine/backend/batch_check.h"

#include <cmath>
#include <vector>

#include "gtest/gtest.h"

namespace longhaul {
namespace {

// Two rows, the second of which is sampled, that are changed in one thing.
class BatchCheckTest : public testing::Test {
 protected:
  BatchCheckTest() {
    plan_.inv_freq = {1, 0.1};
    long_plan_.inv_freq = {1, 0.1, 0.01};
    batch_.tokens = {1, 2, 3, 4};
    batch_.plans = {&plan_};
    batch_.rows = {{.block_table = blocks_, .length = 30, .n_new = 3, .first_token = 0, .plan = 0, .first_logit = 3},
                   {.block_table = blocks_, .length = 47, .n_new = 1, .first_token = 3, .plan = 0, .first_logit = 0}};
    batch_.groups = {{.first_row = 0}, {.first_row = 1, .n_rows = 1, .sampler = &sampler_}};
  }

  template <class Change>
  absl::StatusCode With(Change change) const {
    Batch batch = batch_;
    change(batch);
    return CheckBatch(batch, shape_, 5).code();
  }

  const CacheShape shape_{
      .n_layers = 1, .n_heads = 1, .n_kv_heads = 1, .head_dim = 4, .n_blocks = 8, .max_positions = 48};
  const std::vector<BlockId> blocks_ = {7, 0, 3};
  const std::vector<BlockId> bad_blocks_ = {7, 8, 3};
  RotaryPlan plan_, long_plan_;
  SamplerInput sampler_;
  Batch batch_;
};

TEST_F(BatchCheckTest, AcceptsWhatFits) {
  EXPECT_EQ(With([](Batch&) {}), absl::StatusCode::kOk);
  EXPECT_EQ(With([](Batch& b) { b.targets = {-1}; }), absl::StatusCode::kOk);
}

TEST_F(BatchCheckTest, RefusesWhatAKernelWouldFollowOutOfItsMemory) {
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  EXPECT_EQ(With([](Batch& b) { b = Batch(); }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.tokens[2] = 5; }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.tokens[2] = -1; }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.tokens.push_back(0); }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.rows[0].n_new = 4; }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.rows[1].n_new = 0; }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.rows[1].n_new = INT64_MAX; }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.rows[1].first_token = 2; }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.rows[0].length = -1; }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.rows[1].length = 48; }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.rows[1].length = INT64_MAX; }), kInvalid);
  EXPECT_EQ(With([&](Batch& b) { b.rows[1].block_table = std::span(blocks_).first(2); }), kInvalid);
  EXPECT_EQ(With([&](Batch& b) { b.rows[1].block_table = bad_blocks_; }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.rows[1].plan = 1; }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.rows[1].plan = -1; }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.plans[0] = nullptr; }), kInvalid);
  EXPECT_EQ(With([&](Batch& b) { b.plans[0] = &long_plan_; }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.rows[1].first_logit = 2; }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.rows[1].first_logit = -1; }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.rows[1].first_logit = 1; }), kInvalid) << "sampled without logits";
  EXPECT_EQ(With([](Batch& b) { b.groups = {{.first_row = 0, .n_rows = 3}}; }), kInvalid) << "more rows than there are";
  EXPECT_EQ(With([](Batch& b) { b.groups[1].first_row = 0; }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.groups[1].first_row = 2; }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.targets = {-1, -1}; }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.targets = {5}; }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.top_scores = -1; }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.groups[0].n_rows = 2; }), kInvalid);
  EXPECT_EQ(With([](Batch& b) { b.groups[0].n_rows = 0; }), kInvalid);
}

TEST_F(BatchCheckTest, SeveralRowsThatAreSampledAreCombined) {
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  NbceInput nbce;
  const auto as_one = [&](Batch& b) {
    b.rows[0].first_logit = 2;
    b.groups = {{.first_row = 0, .n_rows = 2, .sampler = &sampler_, .nbce = &nbce}};
  };
  EXPECT_EQ(With(as_one), absl::StatusCode::kOk);
  const auto but = [&](auto change) {
    return With([&](Batch& b) {
      as_one(b);
      change(b);
    });
  };
  EXPECT_EQ(but([](Batch& b) { b.groups[0].nbce = nullptr; }), kInvalid);
  EXPECT_EQ(but([](Batch& b) { b.rows[0].first_logit = 1; }), kInvalid) << "two tokens' logits";
  EXPECT_EQ(but([](Batch& b) { b.rows[0].first_logit = 3; }), kInvalid) << "none's";
  for (NbceInput bad :
       {NbceInput{.params = {.beta = -2}}, NbceInput{.params = {.beta = std::nanf("")}},
        NbceInput{.params = {.top_p = 0}}, NbceInput{.params = {.top_p = 2}}, NbceInput{.previous = 2}}) {
    EXPECT_EQ(but([&](Batch& b) { b.groups[0].nbce = &bad; }), kInvalid);
  }
  SamplerInput forced;
  forced.forced = 5;
  EXPECT_EQ(but([&](Batch& b) { b.groups[0].sampler = &forced; }), kInvalid);
}

}  // namespace
}  // namespace longhaul
