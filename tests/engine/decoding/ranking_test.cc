#include "engine/decoding/ranking.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

namespace longhaul {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<TokenId> SortedIds(const std::vector<float>& values) {
  std::vector<TokenId> ids(values.size());
  std::iota(ids.begin(), ids.end(), 0);
  std::stable_sort(ids.begin(), ids.end(), [&](TokenId a, TokenId b) {
    return values[static_cast<size_t>(a)] > values[static_cast<size_t>(b)];
  });
  return ids;
}

void ExpectOrderOf(const std::vector<float>& values) {
  const std::vector<TokenId> expected = SortedIds(values);
  Ranking::Memory memory;
  Ranking ranking(values, memory);
  ASSERT_TRUE(ranking.numbers());
  ASSERT_EQ(ranking.First(), expected[0]);
  ASSERT_EQ(ranking.max(), values[static_cast<size_t>(expected[0])]);
  for (size_t rank = 0; rank < expected.size(); ++rank) {
    ASSERT_EQ(ranking[rank].id, expected[rank]) << "rank " << rank << " of " << values.size();
    ASSERT_EQ(ranking[rank].value, values[static_cast<size_t>(expected[rank])]);
  }
}

TEST(Ranking, IsTheFullSortForEveryLength) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0, 4);
  for (size_t n : {1, 2, 31, 33, 255, 256, 257, 700, 5000, 49152}) {
    std::vector<float> values(n);
    for (float& value : values) value = normal(random);
    ExpectOrderOf(values);
  }
}

TEST(Ranking, EqualValuesKeepTheOrderOfTheirIds) {
  std::mt19937 random(2);
  for (int levels : {1, 2, 5, 300}) {
    std::vector<float> values(3000);
    for (float& value : values) value = static_cast<float>(random() % static_cast<uint32_t>(levels)) - 2;
    ExpectOrderOf(values);
  }
}

TEST(Ranking, ManyTokensWithoutProbabilityComeLast) {
  std::vector<float> values(5000, -kInfinity);
  for (size_t id = 100; id < 5000; id += 700) values[id] = static_cast<float>(id);
  ExpectOrderOf(values);
}

TEST(Ranking, SaysWhenAValueIsNotANumber) {
  std::vector<float> values(1000, 1);
  values[999] = std::numeric_limits<float>::quiet_NaN();
  Ranking::Memory memory;
  EXPECT_FALSE(Ranking(values, memory).numbers());
  EXPECT_TRUE(Ranking({}, memory).numbers());
  EXPECT_EQ(Ranking({}, memory).max(), -kInfinity);
}

}  // namespace
}  // namespace longhaul
