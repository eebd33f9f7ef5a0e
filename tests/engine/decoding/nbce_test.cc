#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "engine/base/instruction_set.h"
#include "engine/decoding/log_softmax.h"
#include "engine/decoding/nbce_combiner.h"
#include "engine/decoding/sampler.h"
#include "tests/engine/decoding/reference_nbce.h"

namespace longhaul {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

using Rows = std::vector<std::vector<float>>;

// Rows side by side, as a backend holds them, with room behind each.
class Logits {
 public:
  explicit Logits(const Rows& rows) : vocabulary_(rows[0].size()), n_rows_(rows.size()) {
    for (const std::vector<float>& row : rows) {
      data_.insert(data_.end(), row.begin(), row.end());
      data_.insert(data_.end(), kRoom, kNan);
    }
  }
  operator NbceLogits() const { return {data_.data(), n_rows_, vocabulary_, vocabulary_ + kRoom}; }

 private:
  static constexpr size_t kRoom = 3;
  size_t vocabulary_, n_rows_;
  std::vector<float> data_;
};

NbceResult Combine(const Rows& rows, const NbceParams& params, int previous = -1) {
  return CombineNbce(Logits(rows), params, previous);
}

// What comes out of it was computed apart from this code, in double precision.
const Rows kGolden = {
    {2, 1, .5f, 0, -1, -4}, {1, 3, .2f, 0, -2, -1}, {.5f, .4f, .3f, .2f, .1f, 0}, {0, 2.9f, .3f, 0, -2, 1}};

void ExpectNear(const std::vector<float>& actual, const std::vector<float>& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    if (expected[i] == -kInfinity) {
      EXPECT_EQ(actual[i], -kInfinity) << i;
    } else {
      EXPECT_NEAR(actual[i], expected[i], 2e-6) << i;
    }
  }
}

TEST(Nbce, GivesThePublishedVector) {
  NbceResult result = Combine(kGolden, {});
  EXPECT_EQ(result.chosen, 1);
  EXPECT_FALSE(result.fell_back);
  ExpectNear(result.entropies, {1.106105f, .699509f, 1.777310f, .754784f});
  ExpectNear(result.logits, {-2.655783f, .094217f, -3.280783f, -3.405783f, -kInfinity, -kInfinity});
  // The bonus for the row chosen last: the fresh entropies stay as they are.
  result = Combine(kGolden, {}, 3);
  EXPECT_EQ(result.chosen, 3);
  ExpectNear(result.entropies, {1.106105f, .699509f, 1.777310f, .754784f});
  // Row 0 dropped the last token, whose log-probability passes through.
  ExpectNear(result.logits, {-kInfinity, .026876f, -3.098124f, -3.348124f, -kInfinity, -2.193666f});
}

TEST(Nbce, TruncatesEveryRowAsPublished) {
  const Rows expected = {{-.575833f, -1.575833f, -2.075833f, -2.575833f, -kInfinity, -kInfinity},
                         {-2.239793f, -.239793f, -3.039793f, -3.239793f, -kInfinity, -kInfinity},
                         {-1.556298f, -1.656298f, -1.756298f, -1.856298f, -1.956298f, -2.056298f},
                         {-kInfinity, -.293666f, -2.893666f, -3.193666f, -kInfinity, -2.193666f}};
  for (size_t i = 0; i < kGolden.size(); ++i) {
    const NbceRow row = ReadNbceRow(kGolden[i], 0.95f);
    for (size_t id = 0; id < 6; ++id) {
      const float logit = kGolden[i][id];
      ASSERT_EQ(row.Keeps(static_cast<TokenId>(id), logit), expected[i][id] != -kInfinity) << i << ", " << id;
      if (!row.Keeps(static_cast<TokenId>(id), logit)) continue;
      EXPECT_NEAR(LogProbability(logit, row.log_sum_exp), expected[i][id], 1e-6);
    }
  }
}

// Four tokens; row 0 keeps 0 and 1, row 1 keeps 0 and 2: each of the four cases of kexue.fm 9632 once.
TEST(Nbce, SplitsTheFourCasesOfDroppedTokens) {
  const float half = std::log(0.5f), rare = -30;
  const Rows rows = {{half, half, rare, rare}, {half, rare, half, rare}};
  for (float beta : {-1.0f, -0.5f, 0.0f, 0.25f, 2.0f}) {
    const NbceResult result = Combine(rows, {.beta = beta});
    ASSERT_EQ(result.chosen, 1);
    EXPECT_NEAR(result.logits[0], (1 + beta) * half - beta * half, 1e-6) << "both kept, beta " << beta;
    EXPECT_EQ(result.logits[1], -kInfinity) << "dropped by the document alone, beta " << beta;
    EXPECT_NEAR(result.logits[2], half, 1e-6) << "dropped by row 0 alone, beta " << beta;
    EXPECT_EQ(result.logits[3], -kInfinity) << "dropped by both, beta " << beta;
  }
}

TEST(Nbce, LogitsAtMinusInfinityAreDroppedTokensWithoutTruncation) {
  const Rows rows = {{0, 0, -kInfinity, -kInfinity}, {0, -kInfinity, 0, -kInfinity}};
  for (float beta : {-1.0f, 0.25f}) {
    const NbceResult result = Combine(rows, {.beta = beta, .top_p = 1});
    ExpectNear(result.logits, {-std::log(2.0f), -kInfinity, -std::log(2.0f), -kInfinity});
  }
}

TEST(Nbce, WithoutTruncationRowZeroStillSaysNothingOfWhatItFindsImpossible) {
  const NbceResult result = Combine({{0, -99, -101}, {0, 0, 0}}, {.beta = 1, .top_p = 1});
  const float l = -std::log(3.0f);
  EXPECT_NEAR(result.logits[1], 2 * l + 99, 1e-4);
  EXPECT_NEAR(result.logits[2], l, 1e-6);
}

TEST(Nbce, OneDocumentWithoutContrastIsItsOwnRow) {
  const std::vector<float> document = {1, 3, .2f, 0, -2, -1};
  const NbceResult result = Combine({{5, 0, 0, 0, 0, 0}, document}, {.beta = 0, .top_p = 1});
  const float log_sum_exp = LogSumExp(document);
  for (size_t id = 0; id < document.size(); ++id) {
    EXPECT_EQ(result.logits[id], LogProbability(document[id], log_sum_exp));
  }
  const SamplerSpec spec;
  const SamplerInput greedy{.spec = &spec};
  EXPECT_EQ(SampleToken(result.logits, greedy).id, SampleToken(document, greedy).id);
}

TEST(Nbce, AtBetaMinusOneOnlyTheChoiceOfTokensIsTheDocuments) {
  const NbceResult result = Combine(kGolden, {.beta = -1});
  ExpectNear(result.logits, {-.575833f, -1.575833f, -2.075833f, -2.575833f, -kInfinity, -kInfinity});
}

TEST(Nbce, OfEqualEntropiesTheLowestRowIsChosen) {
  const std::vector<float> same = {1, 2, 3}, other = {3, 1, 2};  // the same probabilities
  EXPECT_EQ(Combine({same, same, same, same}, {}).chosen, 1);
  EXPECT_EQ(Combine({same, same, same, same}, {}, 3).chosen, 3) << "eta decides";
  EXPECT_EQ(Combine({same, same, same, same}, {.eta = 0}, 3).chosen, 1);
}

TEST(Nbce, RowsThatAreNoNumbersTakeNoPart) {
  const std::vector<float> sure = {9, 0, 0}, unsure = {0, 1, 0};
  const std::vector<std::vector<float>> broken = {
      {kNan, 0, 0}, {99, 0, kNan}, {0, kInfinity, 0}, {kInfinity, -kInfinity, 0}, {-kInfinity, -kInfinity, -kInfinity}};
  for (const std::vector<float>& row : broken) {
    for (NbcePooling pooling : {NbcePooling::kMinEntropy, NbcePooling::kMean, NbcePooling::kMax}) {
      const NbceParams params{.top_p = 1, .pooling = pooling};
      const NbceResult result = Combine({unsure, row, sure, unsure}, params);
      EXPECT_EQ(result.chosen, 2);
      EXPECT_TRUE(std::isnan(result.entropies[1]));
      EXPECT_EQ(result.logits, Combine({unsure, sure, unsure}, params).logits);
      // As the row chosen last, or as row 0, it is passed over, too.
      EXPECT_EQ(Combine({unsure, row, sure, unsure}, params, 1).chosen, 2);
      NbceParams nothing = params;
      nothing.beta = 0;
      EXPECT_EQ(Combine({row, unsure, sure}, params).logits, Combine({unsure, unsure, sure}, nothing).logits);
      const NbceResult none = Combine({unsure, row, row}, params);
      EXPECT_EQ(none.chosen, -1);
      EXPECT_FALSE(none.fell_back);
      EXPECT_EQ(none.logits, std::vector<float>(3, -kInfinity));
    }
  }
}

TEST(Nbce, WithoutADocumentNothingIsChosen) {
  EXPECT_EQ(Combine({{1, 2, 3}}, {}).chosen, -1);
}

TEST(Nbce, WhereTheMeanLeavesNoTokenTheSurestRowSpeaks) {
  const Rows rows = {{0, 0, 0}, {8, 0, 0}, {0, 9, 0}};
  const NbceResult mean = Combine(rows, {.pooling = NbcePooling::kMean});
  EXPECT_TRUE(mean.fell_back);
  EXPECT_EQ(mean.chosen, 2);
  EXPECT_EQ(mean.logits, Combine(rows, {}).logits);
  // One token in common is enough.
  const NbceResult common = Combine({{0, 0, 0}, {2, 1, -20}, {-20, 1, 2}}, {.pooling = NbcePooling::kMean});
  EXPECT_FALSE(common.fell_back);
  EXPECT_EQ(common.logits[0], -kInfinity);
  EXPECT_TRUE(std::isfinite(common.logits[1]));
  EXPECT_EQ(common.logits[2], -kInfinity);
}

TEST(Nbce, TheMaximumKeepsWhatAnyRowKeeps) {
  const NbceResult result = Combine({{0, 0, 0, 0}, {8, 0, 0, 0}, {0, 9, 0, 0}}, {.pooling = NbcePooling::kMax});
  EXPECT_EQ(result.chosen, 2) << "the citation is of the surest row";
  EXPECT_TRUE(std::isfinite(result.logits[0]) && std::isfinite(result.logits[1]));
  EXPECT_EQ(result.logits[2], -kInfinity);
}

TEST(Nbce, AtTheCutTheHigherIdOfEqualOnesStays) {
  const std::vector<float> equal(200, 1.5f);
  NbceRow row = ReadNbceRow(equal, 0.502f);
  EXPECT_EQ(row.cut, 1.5f);
  EXPECT_EQ(row.first_at_cut, 99);
  EXPECT_NEAR(row.entropy, 101 / 200.0 * std::log(200.0), 1e-5);
  row = ReadNbceRow({equal.data(), 1}, 0.01f);
  EXPECT_EQ(row.first_at_cut, 0);
  EXPECT_EQ(row.entropy, 0);
}

class RandomNbce {
 public:
  explicit RandomNbce(uint32_t seed) : random_(seed) {
    const auto n = 1 + random_() % 40;
    const auto vocabulary = OneOf<size_t>({1, 6, 40, 257, 1000, 5000});
    const auto spread = OneOf<float>({0.05f, 1, 4, 15});
    const bool ties = Chance(0.5), infinite = Chance(0.3);
    const double broken = Chance(0.1) ? 0.9 : 0.03;  // of the rows; now and then most of them
    // Documents say something in common, so that the mean is not always empty.
    std::normal_distribution<float> normal(0, spread);
    std::vector<float> common(vocabulary);
    for (float& x : common) x = normal(random_);
    for (size_t i = 0; i <= n; ++i) {
      std::vector<float> row = common;
      for (float& x : row) {
        x += normal(random_) / 2;
        if (ties) x = std::round(x * 4) / 4;
        if (infinite && Chance(0.05)) x = -kInfinity;
      }
      if (Chance(broken)) row[random_() % vocabulary] = Chance(0.5) ? kNan : kInfinity;
      if (i > 1 && Chance(0.05)) row = rows[1];
      rows.push_back(row);
    }
    params.beta = OneOf<float>({-1, 0, 0.25f, 2});
    params.eta = OneOf<float>({0, 0.1f, 1.5f});
    params.top_p = OneOf<float>({0.5f, 0.8f, 0.95f, 0.95f, 0.999f, 1});
    params.pooling = OneOf<NbcePooling>({NbcePooling::kMinEntropy, NbcePooling::kMean, NbcePooling::kMax});
    previous = Chance(0.3) ? -1 : static_cast<int>(random_() % (n + 1));
  }

  Rows rows;
  NbceParams params;
  int previous = -1;

 private:
  template <typename T>
  T OneOf(std::vector<T> values) {
    return values[random_() % values.size()];
  }
  bool Chance(double p) { return std::uniform_real_distribution<>(0, 1)(random_) < p; }

  std::mt19937 random_;
};

class NbceOnEachInstructionSet : public testing::TestWithParam<InstructionSet> {
 protected:
  void SetUp() override { UseInstructionSet(GetParam()); }
  void TearDown() override { UseInstructionSet(DetectInstructionSet()); }
};

std::vector<InstructionSet> Available() {
  std::vector<InstructionSet> sets;
  for (InstructionSet set : {InstructionSet::kPortable, InstructionSet::kAvx2, InstructionSet::kAvx512}) {
    if (set <= DetectInstructionSet()) sets.push_back(set);
  }
  return sets;
}

TEST_P(NbceOnEachInstructionSet, GivesWhatTheDoublePrecisionTwinGives) {
  int compared = 0, undecided = 0, fell_back = 0, chose_none = 0;
  for (uint32_t seed = 0; seed < 400; ++seed) {
    const RandomNbce test(seed);
    const NbceResult actual = Combine(test.rows, test.params, test.previous);
    const ReferenceNbce expected = CombineInDouble(test.rows, test.params, test.previous);
    if (expected.cut_margin < 1e-5) {  // float and double may cut differently
      ++undecided;
      continue;
    }
    for (size_t i = 0; i < expected.entropies.size(); ++i) {
      ASSERT_EQ(std::isnan(actual.entropies[i]), std::isnan(expected.entropies[i])) << "case " << seed << ", row " << i;
      if (std::isnan(expected.entropies[i])) continue;
      ASSERT_NEAR(actual.entropies[i], expected.entropies[i], 1e-5 * std::max(1.0, expected.entropies[i]))
          << "case " << seed << ", row " << i;
    }
    if (expected.choice_margin > 1e-5) {
      ASSERT_EQ(actual.chosen, expected.chosen) << "case " << seed;
    } else if (actual.chosen != expected.chosen) {
      ++undecided;
      continue;
    }
    ASSERT_EQ(actual.fell_back, expected.fell_back) << "case " << seed;
    for (size_t id = 0; id < expected.logits.size(); ++id) {
      ASSERT_EQ(std::isinf(actual.logits[id]), std::isinf(expected.logits[id])) << "case " << seed << ", id " << id;
      if (std::isinf(expected.logits[id])) continue;
      ASSERT_NEAR(actual.logits[id], expected.logits[id], 5e-5 * std::max(1.0, std::abs(expected.logits[id])))
          << "case " << seed << ", id " << id;
    }
    ++compared;
    fell_back += actual.fell_back ? 1 : 0;
    chose_none += actual.chosen < 0 ? 1 : 0;
  }
  EXPECT_GT(compared, 300);
  EXPECT_GT(fell_back, 5);
  EXPECT_GT(chose_none, 0);
}

TEST_P(NbceOnEachInstructionSet, CutsRowsOfAnyShapeWhereASortWould) {
  std::mt19937 random(4);
  std::normal_distribution<float> normal(0, 1);
  constexpr size_t kVocabulary = 20011;
  std::vector<std::pair<std::string, std::vector<float>>> shapes;
  const auto add = [&](const std::string& name, auto logit_of) {
    shapes.emplace_back(name, std::vector<float>(kVocabulary));
    for (size_t id = 0; id < kVocabulary; ++id) shapes.back().second[id] = logit_of(id);
  };
  add("flat", [&](size_t) { return normal(random) / 100; });
  add("normal", [&](size_t) { return normal(random); });
  add("wide", [&](size_t) { return normal(random) * 5; });
  add("peaked", [&](size_t id) { return normal(random) + (id == 7777 ? 20.0f : 0.0f); });
  add("equal", [](size_t) { return -3.0f; });
  add("two levels", [](size_t id) { return id % 3 == 0 ? 1.0f : 0.0f; });
  add("levels", [&](size_t) { return std::round(normal(random) * 2); });
  add("neighbours", [](size_t id) { return id % 2 == 0 ? 1.0f : std::nextafter(1.0f, 2.0f); });
  // Logits crowd towards zero: an interval cut into eight keeps nearly all of them for long.
  add("crowded", [](size_t id) { return -std::ldexp(1.0f, -static_cast<int>(id % 120)); });
  add("far up", [&](size_t) { return 100 + normal(random); });
  add("mostly nothing", [&](size_t id) { return id % 500 == 3 ? normal(random) : -kInfinity; });
  int compared = 0;
  for (const auto& [name, row] : shapes) {
    for (float top_p : {0.001f, 0.5f, 0.9f, 0.95f, 0.999f, 0.99999f}) {
      const ReferenceNbce expected = CombineInDouble({row}, {.top_p = top_p}, -1);
      const NbceRow actual = ReadNbceRow(row, top_p);
      ASSERT_TRUE(actual.usable) << name;
      if (expected.cut_margin < 2e-7) continue;
      ++compared;
      size_t differing = 0;
      for (size_t id = 0; id < kVocabulary; ++id) {
        differing += actual.Keeps(static_cast<TokenId>(id), row[id]) == expected.dropped[0][id] ? 1 : 0;
      }
      // A sum of 20,000 probabilities is not exact in float: where they are small and many, the cut may lie a few ids
      // beside that of double precision.
      const double mass_of_one = 1.0 / static_cast<double>(kVocabulary);
      EXPECT_LE(differing, expected.cut_margin > mass_of_one / 10 ? 2u : 6u) << name << ", top_p " << top_p;
      EXPECT_NEAR(actual.entropy, expected.entropies[0], 5e-5 + static_cast<double>(differing) * 12 * mass_of_one)
          << name << ", top_p " << top_p;
    }
  }
  EXPECT_GT(compared, 50);
}

TEST_P(NbceOnEachInstructionSet, HowTheVocabularyIsCutIntoRangesChangesNoBit) {
  std::mt19937 random(9);
  for (uint32_t seed = 0; seed < 200; ++seed) {
    const RandomNbce test(seed);
    const NbceResult whole = Combine(test.rows, test.params, test.previous);
    const Logits logits(test.rows);
    std::vector<NbceRow> rows;
    for (const std::vector<float>& row : test.rows) rows.push_back(ReadNbceRow(row, test.params.top_p));
    const size_t vocabulary = test.rows[0].size();
    std::vector<float> combined(vocabulary, 77);
    bool any = false;
    for (size_t begin = 0; begin < vocabulary;) {
      const size_t end = std::min(vocabulary, begin + 1 + random() % 700);
      any |= MergeNbce(logits, rows, test.params.beta, test.params.pooling, whole.chosen, begin, end, combined.data());
      begin = end;
    }
    ASSERT_EQ(any, !whole.fell_back && whole.chosen >= 0) << "case " << seed;
    if (!any) continue;
    ASSERT_EQ(combined, whole.logits) << "case " << seed;
  }
}

TEST_P(NbceOnEachInstructionSet, TheOrderOfDocumentsChangesNothing) {
  std::mt19937 random(10);
  int compared = 0;
  for (uint32_t seed = 0; seed < 300; ++seed) {
    RandomNbce test(seed);
    if (test.params.pooling == NbcePooling::kMean) continue;
    const ReferenceNbce reference = CombineInDouble(test.rows, test.params, test.previous);
    if (reference.choice_margin < 1e-5 || reference.n_least > 1) continue;  // of a tie the lowest row wins
    const NbceResult first = Combine(test.rows, test.params, test.previous);
    std::vector<size_t> order(test.rows.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::shuffle(order.begin() + 1, order.end(), random);
    Rows shuffled;
    int previous = -1;
    for (size_t i = 0; i < order.size(); ++i) {
      shuffled.push_back(test.rows[order[i]]);
      if (static_cast<int>(order[i]) == test.previous) previous = static_cast<int>(i);
    }
    const NbceResult second = Combine(shuffled, test.params, previous);
    ASSERT_EQ(second.logits, first.logits) << "case " << seed;
    ASSERT_EQ(first.chosen < 0 ? -1 : static_cast<int>(order[static_cast<size_t>(second.chosen)]), first.chosen);
    ++compared;
  }
  EXPECT_GT(compared, 100);
}

INSTANTIATE_TEST_SUITE_P(, NbceOnEachInstructionSet, testing::ValuesIn(Available()),
                         [](const auto& set) { return std::string(InstructionSetName(set.param)); });

TEST(Nbce, WhatIsSampledAndReportedIsOfTheCombinedDistribution) {
  const NbceResult result = Combine(kGolden, {});
  SamplerSpec spec;
  spec.top_logprobs = 3;
  spec.end_tokens = {0, 1, 2, 3};
  SamplerInput input{.spec = &spec};
  SamplerResult sampled = SampleToken(result.logits, input);
  EXPECT_EQ(sampled.id, 1);
  double sum = 0;
  for (float l : result.logits) sum += std::exp(static_cast<double>(l));
  EXPECT_NEAR(sampled.logprob, static_cast<double>(result.logits[1]) - std::log(sum), 1e-6);
  ASSERT_EQ(sampled.top.size(), 3u);
  EXPECT_EQ(sampled.top[1].id, 0);
  // A dropped token is never drawn, at whatever temperature.
  spec.params.temperature = 100;
  std::vector<int> counts(6);
  for (input.index = 0; input.index < 2000; ++input.index) {
    ++counts[static_cast<size_t>(SampleToken(result.logits, input).id)];
  }
  EXPECT_EQ(counts[4] + counts[5], 0);
  EXPECT_GT(*std::min_element(counts.begin(), counts.begin() + 4), 300);
  // Where all that is kept is forbidden nothing can be drawn.
  input.forbidden = ForbiddenTokens::kEnds;
  EXPECT_EQ(SampleToken(result.logits, input).id, -1);
}

}  // namespace
}  // namespace longhaul
