#include "engine/cache/prefix_cache.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "tests/engine/cache/geometry.h"

namespace longhaul {
namespace {

constexpr Fingerprint kPlan{1, 2};

std::vector<TokenId> Text(int64_t n, TokenId first = 100) {
  std::vector<TokenId> text(static_cast<size_t>(n));
  std::iota(text.begin(), text.end(), first);
  return text;
}

// A pool whose blocks are filled with texts.
class PrefixCacheTest : public ::testing::Test {
 protected:
  // Blocks of the leading full blocks of `text`, published and held.
  std::vector<BlockId> Write(const std::vector<TokenId>& text, uint64_t scope = 0) {
    PrefixHash hash = PrefixCache::Empty(scope, kPlan);
    std::vector<BlockId> blocks;
    for (size_t at = 0; at + kBlock <= text.size(); at += kBlock) {
      blocks.push_back(pool_.Allocate());
      cache_.Publish(blocks.back(), std::span(text).subspan(at, kBlock), hash);
    }
    return blocks;
  }
  std::vector<BlockId> Take(const std::vector<TokenId>& text, int64_t most = 1000, uint64_t scope = 0) {
    PrefixHash hash = PrefixCache::Empty(scope, kPlan);
    return cache_.Take(text, most, hash);
  }
  // From the last to the first, as a row does.
  void Release(const std::vector<BlockId>& blocks) {
    for (auto block = blocks.rbegin(); block != blocks.rend(); ++block) pool_.Release(*block);
  }

  BlockPool pool_{GeometryOf(8)};
  PrefixCache cache_{pool_};
};

TEST_F(PrefixCacheTest, FindsWhatWasWrittenHeldOrNot) {
  const auto blocks = Write(Text(50));
  ASSERT_EQ(blocks.size(), 3u);
  EXPECT_EQ(Take(Text(50)), blocks);
  Release(blocks);
  EXPECT_EQ(pool_.used(), 3) << "the second holder keeps them";
  Release(blocks);
  EXPECT_EQ(pool_.used(), 0);
  EXPECT_EQ(pool_.idle_cached(), 3);
  EXPECT_EQ(Take(Text(50)), blocks);
  EXPECT_EQ(pool_.used(), 3);
}

TEST_F(PrefixCacheTest, FindsTheCommonBeginningOnly) {
  const auto blocks = Write(Text(48));
  std::vector<TokenId> other = Text(48);
  other[20] = 7;
  EXPECT_EQ(Take(other), std::vector<BlockId>({blocks[0]}));
  EXPECT_EQ(Take(Text(48), 2).size(), 2u);
  EXPECT_EQ(Take(Text(15)).size(), 0u);
  EXPECT_EQ(Take(Text(48, 101)).size(), 0u);
  // The same block behind another beginning is another block.
  std::vector<TokenId> shifted = Text(16, 500);
  const std::vector<TokenId> tail = Text(32, 116);
  shifted.insert(shifted.end(), tail.begin(), tail.end());
  EXPECT_EQ(Take(shifted).size(), 0u);
}

TEST_F(PrefixCacheTest, SharesNothingAcrossScopesAndPlans) {
  Write(Text(32), 1);
  EXPECT_EQ(Take(Text(32), 1000, 2).size(), 0u);
  PrefixHash hash = PrefixCache::Empty(1, Fingerprint{1, 3});
  EXPECT_EQ(cache_.Take(Text(32), 1000, hash).size(), 0u);
  EXPECT_EQ(Take(Text(32), 1000, 1).size(), 2u);
}

TEST_F(PrefixCacheTest, ForgetsTheLeastRecentlyUsedAndEndsBeforeBeginnings) {
  const auto a = Write(Text(48)), b = Write(Text(48, 1000));
  Release(a);
  Release(b);
  EXPECT_EQ(pool_.free(), 8);
  std::vector<BlockId> taken;
  for (int i = 0; i < 3; ++i) taken.push_back(pool_.Allocate());  // two empty ones, and the end of a
  EXPECT_EQ(cache_.evictions(), 1);
  EXPECT_EQ(taken.back(), a[2]);
  EXPECT_EQ(Take(Text(48)).size(), 2u);
  Release({a[0], a[1]});  // used again: b is older now
  pool_.Allocate();
  EXPECT_EQ(Take(Text(48, 1000)).size(), 2u);
  EXPECT_EQ(Take(Text(48)).size(), 2u);
}

TEST_F(PrefixCacheTest, ASecondBlockOfTheSameContentStaysUnknown) {
  const auto first = Write(Text(16)), second = Write(Text(16));
  EXPECT_EQ(cache_.size(), 1);
  Release(second);
  EXPECT_EQ(pool_.idle_cached(), 0);
  EXPECT_EQ(Take(Text(16)), first);
}

TEST_F(PrefixCacheTest, PeekingChangesNothing) {
  const auto blocks = Write(Text(48));
  Release(blocks);
  EXPECT_EQ(cache_.Peek(Text(48), 1000, PrefixCache::Empty(0, kPlan)), 3);
  EXPECT_EQ(cache_.Peek(Text(48), 1, PrefixCache::Empty(0, kPlan)), 1);
  EXPECT_EQ(pool_.used(), 0);
}

}  // namespace
}  // namespace longhaul
