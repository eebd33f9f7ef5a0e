// What a step makes of its logits: groups that draw, are scored, or both, and policies of a merge, against the same on
// one thread.

#include "engine/backend/cpu/token_chooser.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include "engine/decoding/log_softmax.h"
#include "tests/support/hand_batch.h"

namespace longhaul::cpu {
namespace {

constexpr int64_t kVocabulary = 5000;

std::vector<float> RandomLogits(int64_t rows, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 3);
  std::vector<float> logits(static_cast<size_t>(rows * kVocabulary));
  for (float& x : logits) x = normal(random);
  return logits;
}

// Groups of rows of one new token each.
HandRow Row(std::span<const TokenId> tokens) {
  static const std::vector<BlockId> blocks = {0};
  static const auto plan = std::make_shared<const RotaryPlan>();
  return {.tokens = tokens, .blocks = blocks, .plan = plan};
}

StepResult Choose(const Batch& batch, const std::vector<float>& logits, const std::vector<GroupResult>& before = {},
                  int threads = 3) {
  WorkerPool pool(threads);
  TokenChooser chooser(pool);
  StepResult result;
  result.groups.resize(batch.groups.size());
  chooser.Choose(batch, logits.data(), kVocabulary, before, result);
  return result;
}

std::span<const float> LogitRow(const std::vector<float>& logits, size_t row) {
  return std::span(logits).subspan(row * kVocabulary, kVocabulary);
}

TEST(TokenChooserTest, ARowMayBeScoredInItsMiddleAndDrawnAtItsEnd) {
  const std::vector<TokenId> tokens = {1, 2, 3, 4, 5}, other = {9};
  Batch batch;
  AddGroup(batch, {Row(other)}, Greedy());
  const std::vector<TokenId> targets = {70, 80, 90};
  AddGroup(batch, {Row(tokens)}, Greedy(), targets);
  batch.groups[1].top_scores = 2;
  AddGroup(batch, {Row(other)}, Greedy());
  ASSERT_EQ(batch.n_logit_rows(), 6);
  EXPECT_EQ(batch.wanted[1].token, 1 + 2) << "three of the last five tokens are scored";
  EXPECT_EQ(batch.wanted[4].token, 1 + 4) << "and the last is drawn from";
  const std::vector<float> logits = RandomLogits(6, 1);
  const StepResult result = Choose(batch, logits);
  const SamplerSpec spec;
  EXPECT_EQ(result.groups[0].drawn.id, SampleToken(LogitRow(logits, 0), {.spec = &spec}).id);
  EXPECT_EQ(result.groups[1].drawn.id, SampleToken(LogitRow(logits, 4), {.spec = &spec}).id);
  EXPECT_EQ(result.groups[2].drawn.id, SampleToken(LogitRow(logits, 5), {.spec = &spec}).id);
  ASSERT_EQ(result.groups[1].scores.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    const auto row = LogitRow(logits, 1 + i);
    const float log_sum_exp = LogSumExp(row);
    EXPECT_EQ(result.groups[1].scores[i].logprob, LogProbability(row[static_cast<size_t>(targets[i])], log_sum_exp));
    EXPECT_EQ(result.groups[1].scores[i].top.size(), 2u);
  }
  EXPECT_TRUE(result.groups[0].scores.empty());
}

// Three rows; where the mean of disjoint beginnings leaves nothing, and where what is left is forbidden.
class PolicyTest : public ::testing::Test {
 protected:
  PolicyTest() : logits_(3 * kVocabulary, -20) {
    for (size_t row = 0; row < 3; ++row) logits_[row * kVocabulary + 10 * row] = 20;  // sure of another token each
    logits_[kVocabulary + 11] = 19;                                                   // row 1 less so
  }

  GroupResult Draw(const MergePolicy& policy, std::vector<TokenId> forbidden = {}) {
    auto spec = std::make_shared<SamplerSpec>();
    spec->end_tokens = std::move(forbidden);
    BatchDraw draw;
    draw.spec = spec;
    draw.forbidden = ForbiddenTokens::kEnds;
    draw.merge = policy;
    const std::vector<TokenId> token = {1};
    Batch batch;
    AddGroup(batch, {Row(token), Row(token), Row(token)}, draw);
    return Choose(batch, logits_).groups[0];
  }

  std::vector<float> logits_;
  const NbceParams mean_{.pooling = NbcePooling::kMean};
};

TEST_F(PolicyTest, IsExecutedAsItSays) {
  const GroupResult surest = Draw({.params = mean_});
  EXPECT_TRUE(surest.choice.fell_back);
  EXPECT_EQ(surest.drawn.id, 10 * surest.choice.row);
  EXPECT_EQ(Draw({.params = mean_, .if_nothing_left = std::nullopt, .if_nothing_drawn = std::nullopt}).drawn.id, -1);
  EXPECT_EQ(Draw({.params = mean_, .if_nothing_left = std::nullopt}).drawn.id, -1) << "what may be drawn is not asked";
  const GroupResult row = Draw({.params = mean_, .if_nothing_left = MergeSource::kChosenRow});
  EXPECT_EQ(row.drawn.id, 10 * row.choice.row);
  EXPECT_TRUE(row.choice.fell_back);
}

TEST_F(PolicyTest, WhereNothingMayBeDrawnTheRowsOwnLogitsOrNothing) {
  const GroupResult merged = Draw({});
  EXPECT_EQ(merged.choice.row, 2) << "the surest";
  EXPECT_EQ(merged.drawn.id, 20);
  EXPECT_FALSE(merged.choice.fell_back);
  const GroupResult row = Draw({}, {20});
  EXPECT_TRUE(row.choice.fell_back);
  EXPECT_GE(row.drawn.id, 0);
  EXPECT_NE(row.drawn.id, 20);
  MergePolicy none;
  none.if_nothing_drawn.reset();
  EXPECT_EQ(Draw(none, {20}).drawn.id, -1);
}

// The step before drew for the second of its groups; penalties and the choice go by that.
TEST(TokenChooserTest, WhatTheStepBeforeDrewCountsAndWhatItChoseIsThePreviousRow) {
  std::vector<float> logits(static_cast<size_t>(3 * kVocabulary), 0);
  logits[7] = 1;
  auto spec = std::make_shared<SamplerSpec>();
  spec->params.presence_penalty = 2;
  BatchDraw draw;
  draw.spec = spec;
  std::vector<GroupResult> before(2);
  before[1].drawn.id = 7;
  const auto drawn = [&](TokenId token) {
    const std::vector<TokenId> tokens = {token};
    Batch batch;
    AddGroup(batch, {Row(tokens)}, draw);
    return Choose(batch, logits, before).groups[0].drawn.id;
  };
  EXPECT_EQ(drawn(7), 7) << "as a known token it is counted by the batch's maker";
  EXPECT_EQ(drawn(DrawnBy(1)), 0);

  draw.merge = MergePolicy{.params = {.eta = 10}};
  draw.previous = 2;
  before[1].choice.row = 1;
  const auto chosen = [&](TokenId token) {
    const std::vector<TokenId> tokens = {token};
    Batch batch;
    AddGroup(batch, {Row(tokens), Row(tokens), Row(tokens)}, draw);
    return Choose(batch, logits, before).groups[0].choice.row;
  };
  EXPECT_EQ(chosen(7), 2);
  EXPECT_EQ(chosen(DrawnBy(1)), 1);
}

}  // namespace
}  // namespace longhaul::cpu
