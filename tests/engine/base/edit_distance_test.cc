#include "engine/base/edit_distance.h"

#include <gtest/gtest.h>

#include <array>

namespace longhaul {
namespace {

TEST(EditDistanceTest, CountsLettersPutInTakenOutAndReplaced) {
  EXPECT_EQ(EditDistance("", ""), 0u);
  EXPECT_EQ(EditDistance("", "abc"), 3u);
  EXPECT_EQ(EditDistance("abc", ""), 3u);
  EXPECT_EQ(EditDistance("flag", "flag"), 0u);
  EXPECT_EQ(EditDistance("flag", "flags"), 1u);
  EXPECT_EQ(EditDistance("kitten", "sitting"), 3u);
  EXPECT_EQ(EditDistance("modle", "model"), 2u);
}

TEST(NearestTest, IsTheNameThatWasMeant) {
  const std::array<std::string, 4> names = {"--max-tokens", "--min-tokens", "--model", "--max-queue"};
  EXPECT_EQ(Nearest("--max-tokns", names), "--max-tokens");
  EXPECT_EQ(Nearest("--modle", names), "--model");
  EXPECT_EQ(Nearest("--max-q", names), "--max-queue") << "a beginning";
  EXPECT_EQ(Nearest("--temperature", names), "");
  const std::array<std::string, 2> commands = {"ask", "ps"};
  EXPECT_EQ(Nearest("ssk", commands), "ask");
  EXPECT_EQ(Nearest("xs", commands), "") << "another word is not nearly this one";
}

}  // namespace
}  // namespace longhaul
