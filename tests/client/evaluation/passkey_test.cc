#include "client/evaluation/passkey.h"

#include <gtest/gtest.h>

#include <set>

namespace longhaul {
namespace {

TEST(Passkey, AKeyHasFiveDigitsAndComesBackWithItsSeed) {
  std::set<std::string> keys;
  for (int64_t trial = 0; trial < 200; ++trial) {
    const std::string key = Passkey::KeyOf(7, 8192, {.depth = 50, .trial = trial});
    EXPECT_EQ(key.size(), 5u);
    EXPECT_NE(key[0], '0');
    EXPECT_EQ(key, Passkey::KeyOf(7, 8192, {.depth = 50, .trial = trial}));
    keys.insert(key);
  }
  EXPECT_GT(keys.size(), 190u);
  EXPECT_NE(Passkey::KeyOf(7, 8192, {}), Passkey::KeyOf(8, 8192, {}));
  EXPECT_NE(Passkey::KeyOf(7, 8192, {}), Passkey::KeyOf(7, 4096, {}));
}

TEST(Passkey, OnlyTheAnswersFirstNumberCounts) {
  EXPECT_EQ(Passkey::FirstNumber(" 12345. Remember"), "12345");
  EXPECT_EQ(Passkey::FirstNumber(" 123456"), "123456");
  EXPECT_EQ(Passkey::FirstNumber("the pass key is 90210 and 1"), "90210");
  EXPECT_EQ(Passkey::FirstNumber(" not known"), "");
}

}  // namespace
}  // namespace longhaul
