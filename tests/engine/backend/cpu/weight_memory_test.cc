#include "engine/backend/cpu/matmul/weight_memory.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

namespace longhaul::cpu {
namespace {

TEST(WeightMemoryTest, ArraysAreApartAlignedAndOutliveIt) {
  std::vector<std::pair<std::shared_ptr<uint8_t[]>, size_t>> arrays;
  {
    WeightMemory memory;
    for (size_t i = 0; i < 100; ++i) {
      const size_t bytes = i % 50 == 49 ? 5 << 20 : 1 + i * 7919 % (1 << 19);  // large ones lie alone
      arrays.emplace_back(memory.Take(static_cast<int64_t>(bytes)), bytes);
      ASSERT_NE(arrays.back().first, nullptr);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(arrays.back().first.get()) % 64, 0u);
    }
  }
  for (size_t i = 0; i < arrays.size(); ++i) {
    std::memset(arrays[i].first.get(), static_cast<int>(i), std::min<size_t>(arrays[i].second, 64));
    arrays[i].first[static_cast<std::ptrdiff_t>(arrays[i].second - 1)] = static_cast<uint8_t>(i);
  }
  for (size_t i = 0; i < arrays.size(); ++i) {
    const auto& [array, bytes] = arrays[i];
    EXPECT_EQ(array[0], static_cast<uint8_t>(i));
    EXPECT_EQ(array[static_cast<std::ptrdiff_t>(bytes - 1)], static_cast<uint8_t>(i));
  }
}

}  // namespace
}  // namespace longhaul::cpu
