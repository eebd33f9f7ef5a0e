#include "engine/cache/block_table.h"

#include <gtest/gtest.h>

#include <set>
#include <utility>
#include <vector>

#include "tests/engine/cache/geometry.h"

namespace longhaul {
namespace {

TEST(BlockPool, HandsOutEachBlockOnceAndTakesItBack) {
  BlockPool pool(GeometryOf(5));
  std::set<BlockId> seen;
  for (int i = 0; i < 5; ++i) seen.insert(pool.Allocate());
  EXPECT_EQ(seen, (std::set<BlockId>{0, 1, 2, 3, 4}));
  EXPECT_EQ(pool.free(), 0);
  pool.Release(3);
  EXPECT_EQ(pool.free(), 1);
  EXPECT_EQ(pool.Allocate(), 3);
  EXPECT_EQ(pool.used(), 5);
}

TEST(BlockTable, TakesWholeBlocksAndGivesThemBackOnce) {
  BlockPool pool(GeometryOf(10));
  {
    BlockTable table(pool);
    table.Reserve(0);
    EXPECT_TRUE(table.blocks().empty());
    table.Reserve(1);
    EXPECT_EQ(table.blocks().size(), 1u);
    table.Reserve(kBlock);
    EXPECT_EQ(table.blocks().size(), 1u);
    table.Reserve(kBlock + 1);
    EXPECT_EQ(table.blocks().size(), 2u);
    BlockTable moved = std::move(table);
    EXPECT_EQ(moved.blocks().size(), 2u);
    EXPECT_EQ(pool.used(), 2);
  }
  EXPECT_EQ(pool.used(), 0);
}

}  // namespace
}  // namespace longhaul
