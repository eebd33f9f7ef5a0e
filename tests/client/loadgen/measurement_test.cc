#include "client/loadgen/measurement.h"

#include <gtest/gtest.h>

#include <cmath>

namespace longhaul::loadgen {
namespace {

using End = StreamRecord::End;

// A request meant for `intended` whose tokens come one by one: the first after `first`, then every `gap`.
StreamRecord Answer(double intended, double first, double gap, int64_t tokens) {
  StreamRecord record;
  record.intended = record.sent = intended;
  record.output_tokens = tokens;
  for (int64_t i = 0; i < tokens; ++i) record.chunks.push_back({intended + first + gap * static_cast<double>(i), 1});
  record.ended = record.chunks.back().at;
  record.end = End::kAnswered;
  return record;
}

StreamRecord Failure(double intended, const char* code) {
  StreamRecord record;
  record.intended = record.sent = intended;
  record.ended = intended + 0.001;
  record.error = code;
  record.message = "words";
  return record;
}

std::vector<Objective> Slo(const char* text) {
  return *ParseObjectives(text);
}

TEST(MeasurementTest, LatenciesCountFromTheIntendedSend) {
  Measurement m({0, 10}, {});
  StreamRecord record = Answer(1, 0.5, 0.1, 3);
  record.sent = 1.4;  // the client was late; the user would have waited all the same
  m.Add(record);
  EXPECT_NEAR(m.time_to_first_token.max(), 0.5, 1e-9);
  EXPECT_NEAR(m.end_to_end.max(), 0.7, 1e-9);
  EXPECT_NEAR(m.lateness.max(), 0.4, 1e-9);
  EXPECT_NEAR(m.time_per_output_token.max(), 0.1, 1e-9);
}

TEST(MeasurementTest, GapsAreDividedByTheTokensOfTheLaterChunk) {
  Measurement m({0, 10}, {});
  StreamRecord record = Answer(0, 1, 0, 1);
  record.chunks = {{1, 5}, {1.4, 4}, {1.6, 1}};
  record.output_tokens = 10;
  m.Add(record);
  EXPECT_EQ(m.inter_token_latency.count(), 5);
  EXPECT_NEAR(m.inter_token_latency.Percentile(80), 0.1, 1e-4);
  EXPECT_NEAR(m.inter_token_latency.max(), 0.2, 1e-9);
  EXPECT_EQ(m.chunk_gap.count(), 2);
  EXPECT_NEAR(m.chunk_gap.max(), 0.4, 1e-9);
  EXPECT_NEAR(m.time_per_output_token.max(), 0.6 / 5, 1e-9);
  EXPECT_EQ(m.wrong_length, 0);
}

TEST(MeasurementTest, WarmUpIsLeftOut) {
  Measurement m({1, 3}, {});
  m.Add(Answer(0.55, 0.1, 0.2, 10));  // warm-up; those of its tokens count that arrive within the window
  m.Add(Answer(2.55, 0.1, 0.2, 10));  // measured; ends after the window
  m.Add(Failure(0.9, "INTERNAL"));
  EXPECT_EQ(m.requests, 1);
  EXPECT_EQ(m.failed, 0);
  EXPECT_EQ(m.time_to_first_token.count(), 1);
  EXPECT_EQ(m.tokens_in_window, 8 + 2);  // from 1.05 to 2.45; 2.65 and 2.85
  EXPECT_EQ(m.answers_in_window, 1);
  EXPECT_EQ(m.seconds(), 2);
}

TEST(MeasurementTest, WithoutAnEndTheLastRequestIsTheEnd) {
  Measurement m({1, INFINITY}, {});
  m.Add(Answer(1, 0.5, 0.5, 2));
  EXPECT_EQ(m.seconds(), 1);
}

TEST(MeasurementTest, FailuresDoNotImproveAPercentile) {
  const auto objectives = Slo("ttft_p50=1s,ttft_p99=1s,e2e_p99=1s,error_rate=5%");
  Measurement m({0, 100}, objectives);
  for (int i = 0; i < 90; ++i) m.Add(Answer(i, 0.1, 0, 1));
  for (int i = 0; i < 10; ++i) m.Add(Failure(i, "RESOURCE_EXHAUSTED"));
  EXPECT_NEAR(m.Value(objectives[0]), 0.1, 1e-3);
  EXPECT_TRUE(std::isinf(m.Value(objectives[1])));
  EXPECT_TRUE(std::isinf(m.Value(objectives[2])));
  EXPECT_NEAR(m.Value(objectives[3]), 0.1, 1e-9);
  EXPECT_EQ(m.errors.at("RESOURCE_EXHAUSTED"), 10);
  EXPECT_EQ(m.messages.at("RESOURCE_EXHAUSTED"), "words");
  EXPECT_TRUE(std::isinf(Measurement({0, 1}, {}).Value(objectives[0]))) << "nothing measured is nothing kept";
}

TEST(MeasurementTest, PlannedCancellationsAreNoErrors) {
  const auto objectives = Slo("ttft_p99=1s,e2e_p99=1s");
  Measurement m({0, 100}, objectives);
  StreamRecord record = Answer(0, 0.1, 0.1, 3);
  record.output_tokens = 50;
  record.end = End::kCancelled;
  m.Add(record);
  EXPECT_EQ(m.cancelled, 1);
  EXPECT_EQ(m.failed, 0);
  EXPECT_EQ(m.good, 1);
  EXPECT_EQ(m.wrong_length, 0);
  EXPECT_EQ(m.end_to_end.count(), 0);
  EXPECT_NEAR(m.Value(objectives[0]), 0.1, 1e-3);
}

TEST(MeasurementTest, GoodRequestsKeepEveryObjectiveByThemselves) {
  Measurement m({0, 100}, Slo("ttft_p50=100ms,ttft_p99=500ms,itl_p99=80ms,e2e_max=2s"));
  m.Add(Answer(0, 0.4, 0.05, 10));  // the bound of the highest percentile counts
  m.Add(Answer(0, 0.6, 0.05, 10));  // first token too late
  m.Add(Answer(0, 0.1, 0.09, 10));  // too slow
  m.Add(Answer(0, 0.1, 0.07, 40));  // too long
  m.Add(Failure(0, "INTERNAL"));
  StreamRecord unfinished = Answer(0, 0.1, 0.01, 10);
  unfinished.end = End::kUnfinished;
  unfinished.error = "unfinished";
  m.Add(unfinished);
  EXPECT_EQ(m.requests, 6);
  EXPECT_EQ(m.good, 1);
  EXPECT_EQ(m.failed, 2);
}

TEST(MeasurementTest, AnswersOfAnotherLengthAreCounted) {
  Measurement m({0, 100}, {});
  StreamRecord record = Answer(0, 0.1, 0.1, 3);
  record.output_tokens = 4;
  m.Add(record);
  EXPECT_EQ(m.wrong_length, 1);
}

}  // namespace
}  // namespace longhaul::loadgen
