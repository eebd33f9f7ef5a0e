#include "engine/base/utf8.h"

#include <gtest/gtest.h>

#include <string>

namespace longhaul {
namespace {

TEST(Utf8, FindsWhatIsNotUtf8AndReplacesItByItsMaximalParts) {
  EXPECT_EQ(FirstInvalidUtf8("a\xc3\xa9\xff"), 3u);
  EXPECT_EQ(FirstInvalidUtf8("\xed\xa0\x80"), 0u) << "a surrogate";
  EXPECT_EQ(FirstInvalidUtf8("\xc0\xaf"), 0u) << "overlong";
  std::string bytes = "x\xe2\x82";
  EXPECT_EQ(TakeUtf8(bytes, false), "x");
  EXPECT_EQ(bytes, "\xe2\x82");
  bytes += "\xac\xf0\x9f(";
  EXPECT_EQ(TakeUtf8(bytes, false), "\xe2\x82\xac\xef\xbf\xbd(");
  bytes = "\xf0\x9f";
  EXPECT_EQ(TakeUtf8(bytes, true), "\xef\xbf\xbd");
}

}  // namespace
}  // namespace longhaul
