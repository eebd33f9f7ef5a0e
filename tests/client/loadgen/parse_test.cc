// What flags and traces may say.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "client/loadgen/duration.h"
#include "client/loadgen/objective.h"
#include "client/loadgen/position_share.h"
#include "client/loadgen/trace.h"
#include "proto/position_text.h"

namespace longhaul::loadgen {
namespace {

using ::testing::HasSubstr;

template <typename T>
std::string Words(const absl::StatusOr<T>& parsed) {
  return parsed.ok() ? "" : std::string(parsed.status().message());
}

TEST(DurationTest, NeedsAUnit) {
  EXPECT_EQ(*ParseDuration("500ms"), 0.5);
  EXPECT_EQ(*ParseDuration("1.5s"), 1.5);
  EXPECT_EQ(*ParseDuration("2m"), 120);
  EXPECT_EQ(*ParseDuration("1h"), 3600);
  EXPECT_NEAR(*ParseDuration("250us"), 250e-6, 1e-12);
  for (const char* wrong : {"", "5", "s", "-1s", "1d", "1 sec", "infs", "nans", "1e999s"}) {
    EXPECT_THAT(Words(ParseDuration(wrong)), HasSubstr("is no time")) << wrong;
  }
}

TEST(DurationTest, PrintsThreeDigits) {
  EXPECT_EQ(DurationText(0.0004824), "0.482 ms");
  EXPECT_EQ(DurationText(0.00999), "9.99 ms");
  EXPECT_EQ(DurationText(0.0931), "93.1 ms");
  EXPECT_EQ(DurationText(0.5), "500 ms");
  EXPECT_EQ(DurationText(1.25), "1.25 s");
  EXPECT_EQ(DurationText(321.4), "321 s");
}

TEST(ObjectiveTest, NamesMetricPercentileAndBound) {
  const auto objectives = ParseObjectives("ttft_p99=500ms,itl_p99.9=80ms,tpot_p50=30ms,e2e_max=1m,error_rate=0.5%");
  ASSERT_TRUE(objectives.ok()) << objectives.status();
  ASSERT_EQ(objectives->size(), 5u);
  using Metric = Objective::Metric;
  EXPECT_EQ((*objectives)[0].metric, Metric::kTimeToFirstToken);
  EXPECT_EQ((*objectives)[0].bound, 0.5);
  EXPECT_EQ((*objectives)[1].metric, Metric::kInterTokenLatency);
  EXPECT_EQ((*objectives)[1].percent, 99.9);
  EXPECT_EQ((*objectives)[2].metric, Metric::kTimePerOutputToken);
  EXPECT_EQ((*objectives)[3].metric, Metric::kEndToEnd);
  EXPECT_EQ((*objectives)[3].percent, 100);
  EXPECT_EQ((*objectives)[3].bound, 60);
  EXPECT_EQ((*objectives)[4].metric, Metric::kErrorRate);
  EXPECT_NEAR((*objectives)[4].bound, 0.005, 1e-12);
  EXPECT_TRUE(ParseObjectives("")->empty());
}

TEST(ObjectiveTest, SaysWhatIsWrong) {
  for (const char* wrong : {"ttft=5s", "ttft_p0=5s", "ttft_p101=5s", "ttft_99=5s", "speed_p50=1s", "ttft_p99"}) {
    EXPECT_FALSE(ParseObjectives(wrong).ok()) << wrong;
  }
  EXPECT_THAT(Words(ParseObjectives("ttft_p99=500")), HasSubstr("'500' is no time"));
  EXPECT_THAT(Words(ParseObjectives("error_rate=1")), HasSubstr("'1' is no share"));
  EXPECT_THAT(Words(ParseObjectives("error_rate=101%")), HasSubstr("is no share"));
  EXPECT_THAT(Words(ParseObjectives("speed_p50=1s")), HasSubstr("they are ttft, itl, tpot or e2e"));
}

TEST(PositionShareTest, WeightsAreScaledAndParametersKept) {
  const auto shares = ParsePositionShares("none@3,rerope:window=64,log-n=0@1");
  ASSERT_TRUE(shares.ok()) << shares.status();
  ASSERT_EQ(shares->size(), 2u);
  EXPECT_EQ((*shares)[0].share, 0.75);
  EXPECT_EQ(PositionText((*shares)[1].position), "rerope:window=64,log-n=0");
  EXPECT_EQ((*shares)[1].share, 0.25);

  const auto even = ParsePositionShares("none,rerope:window=64,log-n=0,yarn@2");
  ASSERT_TRUE(even.ok()) << even.status();
  ASSERT_EQ(even->size(), 3u);
  EXPECT_EQ((*even)[0].share, 0.25);
  EXPECT_EQ((*even)[1].share, 0.25);
  EXPECT_EQ((*even)[2].share, 0.5);
}

TEST(PositionShareTest, SaysWhatIsWrong) {
  for (const char* wrong : {"none@", "none@0", "none@-1", "none@x", "nothing@1", "@1", "none@1@2"}) {
    EXPECT_FALSE(ParsePositionShares(wrong).ok()) << wrong;
  }
}

TEST(TraceTest, ReadsBothForms) {
  const auto trace = ParseTrace(
      "{\"at\": 12.5, \"prompt_tokens\": 800, \"output_tokens\": 64, \"position\": \"rerope:window=64\"}\n"
      "\n"
      "{\"at\": 10}\r\n");
  ASSERT_TRUE(trace.ok()) << trace.status();
  ASSERT_EQ(trace->size(), 2u);
  EXPECT_EQ((*trace)[0].at, 0) << "sorted, and counted from the first";
  EXPECT_FALSE((*trace)[0].prompt_tokens.has_value());
  EXPECT_EQ((*trace)[1].at, 2.5);
  EXPECT_EQ((*trace)[1].prompt_tokens, 800);
  EXPECT_EQ((*trace)[1].output_tokens, 64);
  EXPECT_EQ((*trace)[1].position, "rerope:window=64");

  const auto mooncake = ParseTrace(
      "{\"timestamp\": 27482, \"input_length\": 6955, \"output_length\": 52, \"hash_ids\": [46, 47]}\n"
      "{\"timestamp\": 30535, \"input_length\": 6472, \"output_length\": 26, \"hash_ids\": []}");
  ASSERT_TRUE(mooncake.ok()) << mooncake.status();
  EXPECT_NEAR((*mooncake)[1].at, 3.053, 1e-9);
  EXPECT_EQ((*mooncake)[0].prompt_tokens, 6955);
  EXPECT_EQ((*mooncake)[0].block_ids, (std::vector<int64_t>{46, 47}));
}

TEST(TraceTest, NamesTheLine) {
  EXPECT_THAT(Words(ParseTrace("{\"at\": 1}\nnonsense")), HasSubstr("line 2: it is no JSON object"));
  EXPECT_THAT(Words(ParseTrace("{}")), HasSubstr("line 1: it needs 'at'"));
  EXPECT_THAT(Words(ParseTrace("{\"at\": \"1\"}")), HasSubstr("line 1: it needs 'at'"));
  EXPECT_THAT(Words(ParseTrace("{\"at\": 1, \"prompt_tokens\": 0}")), HasSubstr("prompt_tokens must be"));
  EXPECT_THAT(Words(ParseTrace("{\"at\": 1, \"output_length\": 1.5}")), HasSubstr("output_length must be"));
  EXPECT_THAT(Words(ParseTrace("{\"at\": 1, \"position\": \"sideways\"}")), HasSubstr("sideways"));
  EXPECT_THAT(Words(ParseTrace("{\"at\": 1, \"hash_ids\": [\"a\"]}")), HasSubstr("hash_ids"));
  EXPECT_THAT(Words(ParseTrace("\n")), HasSubstr("no request"));
}

}  // namespace
}  // namespace longhaul::loadgen
