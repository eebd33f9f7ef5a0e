#include "engine/decoding/stop_matcher.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace longhaul {
namespace {

struct Outcome {
  std::string text;
  bool stopped = false;
  bool operator==(const Outcome&) const = default;
};

// Searches the whole text: the stop string that ends first, the longest of those.
Outcome WholeTextSearch(const std::string& text, const std::vector<std::string>& stops) {
  for (size_t end = 1; end <= text.size(); ++end) {
    size_t longest = 0;
    for (const std::string& stop : stops) {
      if (stop.size() <= end && text.compare(end - stop.size(), stop.size(), stop) == 0) {
        longest = std::max(longest, stop.size());
      }
    }
    if (longest > 0) return {text.substr(0, end - longest), true};
  }
  return {text, false};
}

std::string RandomText(std::mt19937& random, size_t length) {
  std::string text;
  for (size_t i = 0; i < length; ++i) text.push_back("aab"[random() % 3]);
  return text;
}

TEST(StopMatcher, FindsWhatASearchOfTheWholeTextFindsHoweverTheTextIsCut) {
  std::mt19937 random(1);
  int stopped = 0;
  for (int round = 0; round < 4000; ++round) {
    std::vector<std::string> stops(random() % 17);
    for (std::string& stop : stops) stop = RandomText(random, 3 + random() % 9);
    const std::string text = RandomText(random, random() % 40);
    StopMatcher matcher(stops);
    Outcome outcome;
    for (size_t at = 0; at < text.size();) {
      const size_t length = std::min<size_t>(random() % 6, text.size() - at);
      outcome.text += matcher.Append(std::string_view(text).substr(at, length));
      at += length;
      // Nothing is held back that cannot become a stop string.
      if (matcher.stopped()) break;
      const std::string held = text.substr(outcome.text.size(), at - outcome.text.size());
      ASSERT_TRUE(held.empty() || std::any_of(stops.begin(), stops.end(),
                                              [&](const std::string& stop) { return stop.starts_with(held); }))
          << held;
    }
    outcome.text += matcher.Finish();
    outcome.stopped = matcher.stopped();
    ASSERT_EQ(outcome, WholeTextSearch(text, stops)) << text;
    stopped += outcome.stopped ? 1 : 0;
  }
  EXPECT_GT(stopped, 1000);
  EXPECT_LT(stopped, 3500);
}

TEST(StopMatcher, HoldsBackAnUnfinishedStopStringUntilItIsNone) {
  StopMatcher matcher({"</s>"});
  EXPECT_EQ(matcher.Append("one</"), "one");
  EXPECT_EQ(matcher.Append("s"), "");
  EXPECT_EQ(matcher.Append("!"), "</s!");
  EXPECT_EQ(matcher.Append("two<"), "two");
  EXPECT_EQ(matcher.Finish(), "<");
  EXPECT_FALSE(matcher.stopped());
}

TEST(StopMatcher, NothingFollowsAMatch) {
  StopMatcher matcher({"\n\n"});
  EXPECT_EQ(matcher.Append("answer\n"), "answer");
  EXPECT_EQ(matcher.Append("\nmore"), "");
  EXPECT_TRUE(matcher.stopped());
  EXPECT_EQ(matcher.Append("still more"), "");
  EXPECT_EQ(matcher.Finish(), "");
}

TEST(StopMatcher, OfTwoThatEndTogetherTheLongerOneCounts) {
  StopMatcher matcher({"END", "THE END"});
  EXPECT_EQ(matcher.Append("This is THE END."), "This is ");
}

TEST(StopMatcher, ReleasesWholeCharacters) {
  StopMatcher matcher({"é!"});
  EXPECT_EQ(matcher.Append("è"), "è");  // shares its first byte with the stop string
  EXPECT_EQ(matcher.Append("é"), "");
  EXPECT_EQ(matcher.Append("?"), "é?");
}

TEST(StopMatcher, LongRepetitiveStopStringsCostNoMoreThanTheirText) {
  // A quadratic search would take minutes here.
  const std::vector<std::string> stops(16, std::string(100000, 'a') + "b");
  StopMatcher matcher(stops);
  std::string released;
  for (int i = 0; i < 1000; ++i) released += matcher.Append(std::string(1000, 'a'));
  released += matcher.Finish();
  EXPECT_EQ(released.size(), 1000000u);
  EXPECT_FALSE(matcher.stopped());
}

}  // namespace
}  // namespace longhaul
