#include "client/evaluation/spans.h"

#include <gmock/gmock.h>

namespace longhaul {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Spans, EndAtEvenSharesOfTheText) {
  EXPECT_THAT(*ChooseSpans(1000, 1, 300), ElementsAre(1000));
  EXPECT_THAT(*ChooseSpans(1000, 3, 300), ElementsAre(333, 666, 1000));
  EXPECT_THAT(*ChooseSpans(900, 3, 300), ElementsAre(300, 600, 900));
}

TEST(Spans, EachHasTheLongestLengthBeforeItAndNoneOverlap) {
  for (int64_t n_tokens : {7, 100, 101, 4097}) {
    for (int64_t n_spans = 1; n_spans <= 7; ++n_spans) {
      const int64_t longest = n_tokens / n_spans;
      const auto ends = ChooseSpans(n_tokens, n_spans, longest);
      ASSERT_TRUE(ends.ok()) << ends.status();
      int64_t before = 0;
      for (int64_t end : *ends) {
        EXPECT_GE(end - longest, before);
        before = end;
      }
      EXPECT_EQ(before, n_tokens);
      EXPECT_FALSE(ChooseSpans(n_tokens, n_spans, longest + 1).ok());
    }
  }
}

TEST(Spans, ARefusalSaysHowManyFit) {
  const auto too_many = ChooseSpans(1000, 4, 300);
  EXPECT_TRUE(absl::IsInvalidArgument(too_many.status()));
  EXPECT_THAT(std::string(too_many.status().message()),
              HasSubstr("--spans: 4 spans of 300 tokens need a text of 1200 tokens, --text has 1000; at most 3 spans"));
  EXPECT_THAT(std::string(ChooseSpans(100, 1, 300).status().message()), HasSubstr("take a longer text"));
}

TEST(Spans, OfOneAreAmongThoseOfThreeAndOfSix) {
  const auto one = *ChooseSpans(1003, 1, 1), three = *ChooseSpans(1003, 3, 1), six = *ChooseSpans(1003, 6, 1);
  EXPECT_TRUE(Nested(one, three));
  EXPECT_TRUE(Nested(six, three));
  EXPECT_TRUE(Nested(three, three));
  EXPECT_FALSE(Nested(three, *ChooseSpans(1003, 4, 1)));
}

}  // namespace
}  // namespace longhaul
