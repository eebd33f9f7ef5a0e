#include "engine/base/token_bucket.h"

#include <gtest/gtest.h>

namespace longhaul {
namespace {

TEST(TokenBucket, FillsWithTimeUpToItsCapacity) {
  using TimePoint = TokenBucket::TimePoint;
  TokenBucket bucket(3, 2);
  const TimePoint begin{std::chrono::hours(1)};
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(bucket.Take(1, begin));
  EXPECT_FALSE(bucket.Take(1, begin));
  EXPECT_FALSE(bucket.Take(1, begin + std::chrono::milliseconds(499)));
  EXPECT_TRUE(bucket.Take(1, begin + std::chrono::milliseconds(501)));
  EXPECT_FALSE(bucket.Take(4, begin + std::chrono::seconds(100)));
  EXPECT_TRUE(bucket.Take(3, begin + std::chrono::seconds(100)));
  bucket.Give(2);
  EXPECT_TRUE(bucket.Take(2, begin + std::chrono::seconds(100)));
}

}  // namespace
}  // namespace longhaul
