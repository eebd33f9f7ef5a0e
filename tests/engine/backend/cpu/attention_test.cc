#include "engine/backend/cpu/attention/attention.h"

#include <algorithm>
#include <random>
#include <utility>
#include <vector>

#include "engine/backend/cpu/attention/kv_cache.h"
#include "gtest/gtest.h"
#include "tests/engine/backend/cpu/attention_reader.h"
#include "tests/engine/backend/cpu/each_instruction_set.h"

namespace longhaul::cpu {
namespace {

using AttentionTest = EachInstructionSet;
INSTANTIATE_TEST_SUITE_P(, AttentionTest, testing::ValuesIn(AvailableInstructionSets()), InstructionSetTestName);

TEST_P(AttentionTest, IsThatOfDoublesInRaggedBatches) {
  const Geometry geometries[] = {
      {9, 3, 64, 64, CacheType::kF32},  {9, 3, 64, 64, CacheType::kBf16},  {9, 3, 64, 32, CacheType::kF16},
      {8, 1, 80, 80, CacheType::kBf16}, {2, 2, 128, 128, CacheType::kF16}, {2, 2, 128, 64, CacheType::kF32},
      {4, 2, 20, 12, CacheType::kF32},  {100, 1, 4, 4, CacheType::kF16},
  };
  for (const Geometry& g : geometries) {
    SCOPED_TRACE(testing::Message() << g.n_heads << " heads of " << g.n_kv_heads << ", head_dim " << g.head_dim
                                    << ", cache " << static_cast<int>(g.type));
    const RotaryPlan plans[] = {Plan(g, 10000, 1), Plan(g, 500000, 1.3)};
    Reader reader(g, 2);
    std::vector<std::vector<float>> rows;
    std::vector<std::pair<size_t, int64_t>> all;
    for (int64_t length : {int64_t{1}, int64_t{17}, LongLength(), int64_t{30}, int64_t{513}}) {
      rows.push_back(RandomQkv(g, length, static_cast<uint32_t>(length)));
      const size_t row = reader.AddRow(rows.back(), plans[rows.size() % 2]);
      all.emplace_back(row, length);
    }
    reader.Step(all);
    for (size_t row = 0; row < rows.size(); ++row) {
      EXPECT_LT(LargestError(g, rows[row], plans[(row + 1) % 2], reader.Out(row)), 1e-5) << "row " << row;
    }
  }
}

TEST_P(AttentionTest, IsTheSameToTheBitHoweverARowIsRead) {
  const Geometry geometries[] = {{9, 3, 64, 48, CacheType::kF32},
                                 {9, 3, 64, 48, CacheType::kBf16},
                                 {2, 2, 20, 20, CacheType::kF16},
                                 {8, 1, 80, 80, CacheType::kF16}};
  for (const Geometry& g : geometries) {
    SCOPED_TRACE(testing::Message() << "head_dim " << g.head_dim << ", cache " << static_cast<int>(g.type));
    const RotaryPlan plan = Plan(g, 10000, 1), other = Plan(g, 20000, 2);
    const std::vector<float> qkv = RandomQkv(g, LongLength(), 7);
    Reader one_shot(g, 1);
    const std::vector<float> expected = one_shot.ReadAll(one_shot.AddRow(qkv, plan), LongLength());

    for (int threads : {2, 3}) {
      Reader reader(g, threads);
      EXPECT_EQ(reader.ReadAll(reader.AddRow(qkv, plan), LongLength()), expected) << threads << " threads";
    }
    for (int64_t chunk : {1, 7, 64}) {
      Reader reader(g, 2);
      EXPECT_EQ(reader.ReadAll(reader.AddRow(qkv, plan), chunk), expected) << "chunks of " << chunk;
    }
    Reader reader(g, 2);
    const size_t row = reader.AddRow(qkv, plan);
    std::mt19937 random(3);
    while (reader.Left(row) > 0) {
      std::vector<std::pair<size_t, int64_t>> work;
      for (int mate = 0; mate < 3; ++mate) {
        const int64_t length = 1 + static_cast<int64_t>(random() % 20);
        work.emplace_back(reader.AddRow(RandomQkv(g, length, static_cast<uint32_t>(random())), other), length);
      }
      const int64_t n = std::min(reader.Left(row), 1 + static_cast<int64_t>(random() % 150));
      work.insert(work.begin() + 1, {row, n});
      reader.Step(work);
    }
    EXPECT_EQ(reader.Out(row), expected) << "with batch mates";
  }
}

TEST(KvCacheTest, CutsItsBytesIntoBlocksAndRefusesWhatDoesNotFit) {
  const CacheShape good{.n_layers = 2, .n_heads = 4, .n_kv_heads = 2, .head_dim = 64};
  constexpr int64_t kBlock = 2 * 2 * 2 * 64 * 16 * 2;
  const CacheGeometry geometry = PlanCache(good, CacheType::kBf16, 5 * kBlock - 1).value();
  EXPECT_EQ(geometry.block_bytes, kBlock);
  EXPECT_EQ(geometry.n_blocks, 4);
  EXPECT_EQ(geometry.tokens(), 64);
  EXPECT_TRUE(KvCache::Create(good, geometry, CacheType::kBf16).ok());
  EXPECT_EQ(PlanCache(good, CacheType::kF32, INT64_MAX)->block_bytes, 2 * kBlock);
  EXPECT_EQ(PlanCache(good, CacheType::kF32, INT64_MAX)->n_blocks, 1 << 30) << "ids are 32 bits wide";
  const auto code = [&](auto change, int64_t bytes = 1 << 20) {
    CacheShape shape = good;
    change(shape);
    return PlanCache(shape, CacheType::kF32, bytes).status().code();
  };
  EXPECT_EQ(code([](CacheShape& s) { s.n_layers = INT64_MAX / 2; }), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(code([](CacheShape& s) { s.n_layers = int64_t{1} << 40; }), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(code([](CacheShape& s) { s.n_kv_heads = 3; }), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code([](CacheShape& s) { s.head_dim = 63; }), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code([](CacheShape& s) { s.head_dim = 1 << 20; }), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code([](CacheShape&) {}, 100), absl::StatusCode::kResourceExhausted);
  // More than there is address space for.
  CacheGeometry huge = PlanCache(good, CacheType::kF32, 1 << 20).value();
  huge.block_bytes = int64_t{1} << 50;
  EXPECT_EQ(KvCache::Create(good, huge, CacheType::kF32).status().code(), absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace longhaul::cpu
