#include "engine/telemetry/telemetry.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <functional>

namespace longhaul {
namespace {

using std::chrono::milliseconds;

TEST(Telemetry, BucketsAscendOverTheirRange) {
  const auto check = [](std::span<const int64_t> bounds, size_t size, int64_t first, int64_t last) {
    EXPECT_EQ(bounds.size(), size);
    EXPECT_EQ(std::adjacent_find(bounds.begin(), bounds.end(), std::greater_equal<>()), bounds.end());
    EXPECT_EQ(bounds.front(), first);
    EXPECT_EQ(bounds.back(), last);
  };
  check(LongTimeBuckets(), 20, 5'000'000, 7'680'000'000'000);
  check(ShortTimeBuckets(), 25, 500'000, 80'000'000'000);
  check(TokenBuckets(), 19, 16, 4'194'304);
  check(RowBuckets(), 10, 1, 512);
}

TEST(Telemetry, KeepsModesAndDecodingsApart) {
  Telemetry telemetry;
  telemetry.Of({.kind = position::Yarn()}, DecodingKind::kPlain).generated.Add();
  EXPECT_EQ(telemetry.Of({.kind = position::Yarn()}, DecodingKind::kPlain).generated.value(), 1);
  EXPECT_EQ(telemetry.Of({.kind = position::Yarn()}, DecodingKind::kNbce).generated.value(), 0);
  EXPECT_EQ(telemetry.Of({.kind = position::None()}, DecodingKind::kPlain).generated.value(), 0);
}

TEST(Telemetry, ARequestIsCountedWithItsParts) {
  RequestTelemetry requests;
  Finished finished;
  finished.reason = FinishReason::kStop;
  finished.usage = {.prompt_tokens = 100, .completion_tokens = 11};
  finished.timings = {.queue = 0.25, .prefill = 0.5, .decode = 1, .first_token = 0.75};
  requests.OnFinished(RequestMethod::kGenerate, finished, milliseconds(1750), milliseconds(1000), 1);
  EXPECT_EQ(requests.finished[0][FinishReason::kStop].value(), 1);
  EXPECT_EQ(requests.finished[1][FinishReason::kStop].value(), 0);
  EXPECT_EQ(requests.duration[FinishReason::kStop].Read().sum, 1'750'000'000);
  EXPECT_EQ(requests.duration[FinishReason::kLength].Read().count(), 0);
  EXPECT_EQ(requests.queue_time.Read().sum, 250'000'000);
  EXPECT_EQ(requests.prefill_time.Read().sum, 500'000'000);
  EXPECT_EQ(requests.decode_time.Read().sum, 1'000'000'000);
  EXPECT_EQ(requests.prompt_tokens.Read().sum, 100);
  EXPECT_EQ(requests.generation_tokens.Read().sum, 11);
  EXPECT_EQ(requests.time_per_output_token.Read().sum, 100'000'000);
}

TEST(Telemetry, AnswersAreMadeSideBySide) {
  RequestTelemetry requests;
  Finished finished;
  finished.usage.completion_tokens = 44;
  requests.OnFinished(RequestMethod::kGenerate, finished, milliseconds(5), milliseconds(1000), 4);
  EXPECT_EQ(requests.time_per_output_token.Read().sum, 100'000'000);
}

TEST(Telemetry, OneTokenHasNoTimePerFurtherToken) {
  RequestTelemetry requests;
  Finished finished;
  finished.usage.completion_tokens = 1;
  requests.OnFinished(RequestMethod::kGenerate, finished, milliseconds(5), milliseconds(0), 1);
  EXPECT_EQ(requests.time_per_output_token.Read().count(), 0);
  EXPECT_EQ(requests.generation_tokens.Read().count(), 1);
}

}  // namespace
}  // namespace longhaul
