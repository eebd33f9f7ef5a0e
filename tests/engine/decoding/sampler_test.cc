#include "engine/decoding/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <utility>
#include <vector>

#include "engine/decoding/log_softmax.h"
#include "tests/engine/decoding/reference_sampler.h"

namespace longhaul {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

TokenId Draw(const std::vector<float>& logits, const SamplerQuestion& input) {
  return Sample(logits, input).id;
}

SamplerQuestion AtTemperature(float temperature) {
  SamplerQuestion input;
  input.params.temperature = temperature;
  return input;
}

// The ids that `draws` draws of different indices give.
std::vector<TokenId> DrawnIds(const std::vector<float>& logits, SamplerQuestion input, uint64_t draws = 300) {
  std::vector<TokenId> ids;
  for (input.index = 0; input.index < draws; ++input.index) ids.push_back(Draw(logits, input));
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return ids;
}

class RandomCase {
 public:
  explicit RandomCase(uint32_t seed) : random_(seed) {
    const size_t n = OneOf<size_t>({1, 3, 40, 257, 1000, 5000});
    const float spread = OneOf<float>({0.1f, 1, 4});
    std::normal_distribution<float> normal(0, spread);
    const bool ties = Chance(0.5);
    for (size_t i = 0; i < n; ++i) {
      const float x = normal(random_);
      logits.push_back(Chance(0.02) ? -kInfinity : ties ? std::round(x * 4) / 4 : x);
    }
    SamplingParams& params = input.params;
    params.temperature = OneOf<float>({0, 0.3f, 1, 2.5f});
    params.top_k = OneOf<int32_t>({0, 0, 1, 2, 50, 900, 100000});
    params.top_p = OneOf<float>({1, 1, 0.1f, 0.9f, 0.999f});
    params.min_p = OneOf<float>({0, 0, 0.01f, 0.3f, 1});
    if (Chance(0.4)) params.repetition_penalty = OneOf<float>({0.7f, 1.3f});
    if (Chance(0.3)) params.presence_penalty = OneOf<float>({-0.5f, 1.5f});
    if (Chance(0.3)) params.frequency_penalty = OneOf<float>({-0.25f, 0.5f});
    TokenCounts prompt_counts;
    for (int i = 0; i < 20; ++i) {
      prompt_counts[AnyId()] += 1;
      input.answer_counts[AnyId()] += 1;
    }
    input.prompt_counts = std::move(prompt_counts);
    if (Chance(0.3)) {
      params.logit_bias = {{0, 3.5f}, {static_cast<TokenId>(n) + 7, 100.0f}};
      if (n > 2) params.logit_bias.insert(params.logit_bias.begin() + 1, {2, -100.0f});
    }
    if (Chance(0.3)) input.forbidden = {AnyId(), AnyId(), -5, static_cast<TokenId>(n)};
    params.seed = random_();
    input.index = seed;
  }

  std::vector<float> logits;
  SamplerQuestion input;

 private:
  template <typename T>
  T OneOf(std::vector<T> values) {
    return values[random_() % values.size()];
  }
  bool Chance(double p) { return std::uniform_real_distribution<>(0, 1)(random_) < p; }
  TokenId AnyId() { return static_cast<TokenId>(random_() % logits.size()); }

  std::mt19937 random_;
};

TEST(Sample, DrawsWhatTheDoublePrecisionTwinDraws) {
  int compared = 0, undecided = 0, empty = 0;
  for (uint32_t seed = 0; seed < 3000; ++seed) {
    const RandomCase test(seed);
    const SamplerQuestion& input = test.input;
    const std::vector<float> before = test.logits;
    const TokenId drawn = Sample(test.logits, input).id;
    ASSERT_EQ(test.logits, before);
    for (const auto& [id, count] : input.answer_counts) {
      ASSERT_EQ(Sample(test.logits, input, /*uncounted=*/id).id, drawn) << "case " << seed << ", id " << id;
      break;
    }
    const ReferenceDistribution expected = ReferenceSample(test.logits, input);
    if (expected.kept.empty()) {
      ASSERT_EQ(drawn, -1) << "case " << seed;
      ++empty;
      continue;
    }
    if (expected.margin < 1e-6) {  // a cut that float and double may see differently
      ++undecided;
      continue;
    }
    ++compared;
    const double uniform = UniformFromKey(input.params.seed, input.sample, input.index);
    double sum = 0;
    bool found = false;
    for (const auto& entry : expected.kept) {
      if (entry.id == drawn) {
        found = true;
        ASSERT_GE(uniform, sum - 1e-6) << "case " << seed;
        ASSERT_LE(uniform, sum + entry.probability + 1e-6) << "case " << seed;
      }
      sum += entry.probability;
    }
    ASSERT_TRUE(found) << "case " << seed << ": id " << drawn << " was cut away";
  }
  EXPECT_GT(compared, 2500);
  EXPECT_LT(undecided, 300);
  EXPECT_GT(empty, 0);
}

TEST(Sample, GreedyTakesTheLowestOfEquallyProbableIds) {
  std::vector<float> logits(1000, 1);
  EXPECT_EQ(Draw(logits, {}), 0);
  logits[300] = logits[400] = logits[999] = 2;
  EXPECT_EQ(Draw(logits, {}), 300);
  logits[17] = 2;
  EXPECT_EQ(Draw(logits, {}), 17);
}

TEST(Sample, AtACutTheLowerIdOfEqualOnesStays) {
  const std::vector<float> logits = {1, 2, 2, 2, 2, 0};
  SamplerQuestion input = AtTemperature(1);
  input.params.top_k = 2;
  EXPECT_EQ(DrawnIds(logits, input), (std::vector<TokenId>{1, 2}));
  input.params.top_k = 0;
  input.params.min_p = 1;
  EXPECT_EQ(DrawnIds(logits, input), (std::vector<TokenId>{1, 2, 3, 4}));
  input.params.top_p = 0.5f;
  EXPECT_EQ(DrawnIds(logits, input), (std::vector<TokenId>{1, 2, 3}));
}

TEST(Sample, DrawsInProportionToTheProbabilities) {
  const std::vector<float> logits = {std::log(0.5f), std::log(0.1f), std::log(0.4f)};
  SamplerQuestion input = AtTemperature(1);
  std::vector<int> counts(3);
  constexpr int kDraws = 20000;
  for (input.index = 0; input.index < kDraws; ++input.index) ++counts[static_cast<size_t>(Draw(logits, input))];
  EXPECT_NEAR(counts[0], 0.5 * kDraws, 0.02 * kDraws);
  EXPECT_NEAR(counts[1], 0.1 * kDraws, 0.02 * kDraws);
  EXPECT_NEAR(counts[2], 0.4 * kDraws, 0.02 * kDraws);
}

TEST(Sample, IsAFunctionOfSeedSampleAndIndexAlone) {
  const std::vector<float> logits(5000, 0);
  SamplerQuestion input = AtTemperature(1);
  input.params.seed = 7;
  const TokenId first = Draw(logits, input);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(Draw(logits, input), first);
  EXPECT_GT(DrawnIds(logits, input, 100).size(), 90u);
  input.sample = 1;
  EXPECT_NE(Draw(logits, input), first);
  input.sample = 0;
  input.params.seed = 8;
  EXPECT_NE(Draw(logits, input), first);
}

TEST(Sample, ForbiddenTokensAreNeverDrawn) {
  const std::vector<float> logits = {9, 8, 1, -kInfinity};
  SamplerQuestion input;
  input.forbidden = {0};
  EXPECT_EQ(Draw(logits, input), 1);
  input.params.temperature = 100;
  EXPECT_EQ(DrawnIds(logits, input), (std::vector<TokenId>{1, 2}));
  input.params.logit_bias = {{0, 1e30f}, {3, 1e30f}};
  EXPECT_EQ(DrawnIds(logits, input), (std::vector<TokenId>{1, 2}));
  input.forbidden = {0, 1, 2, 3};
  EXPECT_EQ(Draw(logits, input), -1);
}

TEST(Sample, RepetitionCountsPromptAndAnswerTheOtherPenaltiesTheAnswer) {
  const std::vector<float> logits = {4, 3.9f, 3};
  SamplerQuestion input;
  input.prompt_counts = {{0, 1}};
  input.answer_counts = {{1, 2}};
  EXPECT_EQ(Draw(logits, input), 0);
  input.params.repetition_penalty = 1.2f;  // 3.33, 3.25, 3
  EXPECT_EQ(Draw(logits, input), 0);
  input.params.repetition_penalty = 2;  // 2, 1.95, 3
  EXPECT_EQ(Draw(logits, input), 2);
  input.params.repetition_penalty = 1;
  input.answer_counts = {{0, 2}};
  input.params.presence_penalty = 0.2f;
  EXPECT_EQ(Draw(logits, input), 1);
  input.params.presence_penalty = 0;
  input.params.frequency_penalty = 0.06f;  // twice: 3.88
  EXPECT_EQ(Draw(logits, input), 1);
  input.params.frequency_penalty = 0.04f;  // twice: 3.92
  EXPECT_EQ(Draw(logits, input), 0);
}

TEST(Sample, RefusesLogitsThatAreNotNumbers) {
  for (float temperature : {0.0f, 1.0f}) {
    SamplerQuestion input = AtTemperature(temperature);
    input.top_logprobs = 3;
    for (float bad : {kNan, kInfinity}) {
      for (size_t n : {1, 300, 5000}) {
        for (size_t at : {size_t{0}, n - 1}) {
          std::vector<float> logits(n, 1);
          logits[at] = bad;
          EXPECT_EQ(Draw(logits, input), -1);
        }
      }
    }
    EXPECT_EQ(Draw({}, input), -1);
    EXPECT_EQ(Draw(std::vector<float>(300, -kInfinity), input), -1);
    // Nor where the one that is none may not be drawn, but weighs in every log-probability.
    input.forbidden = {7};
    for (float bad : {kNan, kInfinity}) {
      std::vector<float> logits(300, 1);
      logits[7] = bad;
      EXPECT_EQ(Draw(logits, input), -1);
    }
  }
}

TEST(Sample, ExtremeParametersDrawAnAllowedToken) {
  std::vector<float> logits(3000);
  for (size_t id = 0; id < logits.size(); ++id) logits[id] = static_cast<float>(id % 100);
  logits[5] = -kInfinity;
  for (float temperature : {1e-45f, 1e-30f, 1e30f, 3e38f, kInfinity}) {
    for (float top_p : {1e-45f, 0.5f, 1.0f}) {
      for (float min_p : {0.0f, 1e-45f, 1.0f}) {
        SamplerQuestion input = AtTemperature(temperature);
        input.params.top_p = top_p;
        input.params.min_p = min_p;
        input.params.presence_penalty = -3e38f;
        input.params.frequency_penalty = -3e38f;
        input.answer_counts = {{5, 1000}, {6, 1000}};
        const TokenId id = Draw(logits, input);
        EXPECT_TRUE(id >= 0 && id < 3000 && id != 5) << id;
        if (temperature < 1) {
          EXPECT_EQ(id, 6);
        }
      }
    }
  }
}

TEST(Sample, ReportsLogProbabilitiesOfTheRawLogits) {
  const std::vector<float> logits = {1, 3, 2, 3, 0};
  SamplerQuestion input;
  input.forbidden = {1};
  input.params.logit_bias = {{4, 50.0f}};
  EXPECT_TRUE(Sample(logits, input).top.empty());
  input.top_logprobs = 0;
  const float log_sum_exp = LogSumExp(logits);
  EXPECT_EQ(Sample(logits, input).id, 4);
  EXPECT_EQ(Sample(logits, input).logprob, LogProbability(0, log_sum_exp));
  EXPECT_TRUE(Sample(logits, input).top.empty());
  input.top_logprobs = 3;
  const std::vector<TokenLogprob> top = Sample(logits, input).top;
  ASSERT_EQ(top.size(), 3u);
  EXPECT_EQ(top[0].id, 1);
  EXPECT_EQ(top[1].id, 3);
  EXPECT_EQ(top[2].id, 2);
  EXPECT_EQ(top[2].logprob, LogProbability(2, log_sum_exp));
  EXPECT_EQ(TopLogprobs(logits, log_sum_exp, 20).size(), 5u);
  EXPECT_TRUE(TopLogprobs(logits, log_sum_exp, 0).empty());
}

TEST(UniformFromKey, IsUniformAndNeighbouringKeysAreUnrelated) {
  constexpr uint64_t kDraws = 20000;
  for (int moving : {0, 1, 2}) {
    double sum = 0, product = 0, previous = 0.5;
    std::vector<int> tenths(10);
    for (uint64_t i = 0; i < kDraws; ++i) {
      const double u = UniformFromKey(moving == 0 ? i : 1, moving == 1 ? i : 0, moving == 2 ? i : 0);
      ASSERT_GE(u, 0);
      ASSERT_LT(u, 1);
      sum += u;
      product += (u - 0.5) * (previous - 0.5);
      previous = u;
      ++tenths[static_cast<size_t>(u * 10)];
    }
    EXPECT_NEAR(sum / kDraws, 0.5, 0.01);
    EXPECT_NEAR(product / kDraws, 0, 0.003);
    for (int count : tenths) EXPECT_NEAR(count, kDraws / 10, 200);
  }
}

}  // namespace
}  // namespace longhaul
