// The load generator against a server whose delays are known.

#include "client/loadgen/load_run.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/client/loadgen/stub_server.h"

namespace longhaul::loadgen {
namespace {

using Kind = ArrivalOptions::Kind;

WorkloadOptions Small(int64_t output_tokens) {
  WorkloadOptions options;
  options.prompts = *Lengths::Parse("uniform:min=5,max=20");
  options.outputs = *Lengths::Parse(std::to_string(output_tokens));
  options.vocabulary = 100;
  options.seed = 5;
  return options;
}

ArrivalOptions Rate(Kind kind, double rate) {
  ArrivalOptions options;
  options.kind = kind;
  options.rate = rate;
  options.seed = 5;
  return options;
}

RunOptions For(const StubServer& stub, double duration) {
  RunOptions options;
  options.target = stub.target();
  options.duration = duration;
  return options;
}

double Exact(std::vector<double> values, double percent) {
  std::sort(values.begin(), values.end());
  const double rank = std::ceil(percent / 100 * static_cast<double>(values.size()) - 1e-6);
  return values[static_cast<size_t>(std::max(rank, 1.0)) - 1];
}

// The widest relative error of p50, p90, p95 and p99.
double WidestError(const Histogram& measured, const std::vector<double>& truth) {
  double widest = 0;
  for (const double percent : {50.0, 90.0, 95.0, 99.0}) {
    widest = std::max(widest, std::abs(measured.Percentile(percent) / Exact(truth, percent) - 1));
  }
  return widest;
}

TEST(LoadRunTest, PercentilesAreWhatTheServerDid) {
  // A busy machine may delay messages between the two clocks by some milliseconds: the delays are long, and one quiet
  // attempt is enough.
  double first = 1, gap = 1;
  for (int attempt = 0; attempt < 10 && (first > 0.02 || gap > 0.02); ++attempt) {
    StubServer stub([](int64_t number) {
      Random random(9, Random::Purpose::kLengths, static_cast<uint64_t>(number));
      return StubAnswer{.first = 0.5 + random.Uniform(), .gap = 0.2 + 0.3 * random.Uniform()};
    });
    RunOptions options = For(stub, 1.5);
    options.connections = 2;
    LoadRun run(options, Workload(Small(6)), Rate(Kind::kPoisson, 100), {});
    const RunResult result = run.Run();
    const StubServer::Log log = stub.log();
    ASSERT_GT(log.requests, 100);
    ASSERT_EQ(result.total.answered, log.requests);
    ASSERT_EQ(result.total.time_to_first_token.count(), log.requests);
    ASSERT_EQ(result.total.inter_token_latency.count(), 5 * log.requests);
    ASSERT_EQ(result.total.wrong_length, 0);
    ASSERT_EQ(result.total.prompt_tokens, 10 * log.requests);
    ASSERT_EQ(result.total.cached_tokens, 4 * log.requests);
    first = WidestError(result.total.time_to_first_token, log.firsts);
    gap = WidestError(result.total.inter_token_latency, log.gaps);
    // The client cannot have seen a first token before it was sent.
    ASSERT_GE(result.total.time_to_first_token.min(), *std::min_element(log.firsts.begin(), log.firsts.end()) - 1e-3);
    std::printf("widest error: first token %.2f %%, gap %.2f %%\n", 100 * first, 100 * gap);
  }
  EXPECT_LE(first, 0.02);
  EXPECT_LE(gap, 0.02);
}

TEST(LoadRunTest, ChunksOfSeveralTokensAreDividedAmongThem) {
  StubServer stub([](int64_t) { return StubAnswer{.first = 0.05, .gap = 0.08, .tokens_per_chunk = 4}; });
  LoadRun run(For(stub, 1), Workload(Small(12)), Rate(Kind::kConstant, 20), {});
  const RunResult result = run.Run();
  EXPECT_EQ(result.total.inter_token_latency.count(), 8 * result.total.answered);
  const double gap = Exact(stub.log().gaps, 50);
  EXPECT_NEAR(result.total.inter_token_latency.Percentile(50), gap / 4, 0.005);
  EXPECT_NEAR(result.total.chunk_gap.Percentile(50), gap, 0.02);
}

// A server that stands still for one second: who sends on schedule meets it with a quarter of the requests; who waits
// for answers meets it once and calls it an outlier.
TEST(LoadRunTest, AStallShowsInTheOpenLoop) {
  const auto fast = [](int64_t) { return StubAnswer{.first = 0.01}; };
  StubServer open_stub(fast);
  open_stub.Stall(1, 1);
  LoadRun open(For(open_stub, 4), Workload(Small(1)), Rate(Kind::kConstant, 50), {});
  StubServer closed_stub(fast);
  closed_stub.Stall(1, 1);
  RunOptions options = For(closed_stub, 4);
  options.concurrency = 1;
  LoadRun closed(options, Workload(Small(1)), {}, {});
  RunResult omitted{{{}, {}}, {}, 0, 0, 1, false};
  std::jthread beside([&] { omitted = closed.Run(); });
  const RunResult seen = open.Run();
  beside.join();
  EXPECT_EQ(seen.total.requests, 200);
  EXPECT_EQ(seen.total.answered, 200);
  EXPECT_GT(seen.total.time_to_first_token.Percentile(99), 0.9);
  EXPECT_GT(seen.total.time_to_first_token.Percentile(90), 0.5);
  EXPECT_LT(seen.total.time_to_first_token.Percentile(50), 0.5);
  EXPECT_GT(omitted.total.time_to_first_token.max(), 0.9);
  EXPECT_LT(omitted.total.time_to_first_token.Percentile(98), 0.5);
}

TEST(LoadRunTest, WarmUpIsNotMeasured) {
  StubServer stub([](int64_t) { return StubAnswer{.first = 0.01}; });
  RunOptions options = For(stub, 1);
  options.warmup = 0.5;
  const RunResult result = LoadRun(options, Workload(Small(1)), Rate(Kind::kConstant, 40), {}).Run();
  EXPECT_EQ(stub.log().requests, 60);
  EXPECT_EQ(result.total.requests, 40);
}

TEST(LoadRunTest, AClosedLoopKeepsItsConcurrency) {
  StubServer stub([](int64_t number) { return StubAnswer{.first = 0.02 + 0.001 * static_cast<double>(number % 7)}; });
  RunOptions options = For(stub, 1000);
  options.concurrency = 8;
  options.requests = 100;
  options.client_ids = 3;
  const RunResult result = LoadRun(options, Workload(Small(2)), {}, {}).Run();
  EXPECT_EQ(result.total.requests, 100);
  EXPECT_EQ(result.total.answered, 100);
  EXPECT_EQ(stub.log().most_at_once, 8);
  EXPECT_LT(result.total.seconds(), 10) << "the window ends with the last request";
  EXPECT_EQ(stub.log().client_ids, (std::map<std::string, int64_t>{{"bench-0", 34}, {"bench-1", 33}, {"bench-2", 33}}));
}

int ThreadsOfThisProcess() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("Threads:")) return std::stoi(line.substr(8));
  }
  return -1;
}

TEST(LoadRunTest, HundredsOfStreamsNeedFewThreads) {
  StubServer stub([](int64_t) { return StubAnswer{.first = 0.8, .gap = 0.05}; });
  RunOptions options = For(stub, INFINITY);
  options.concurrency = options.requests = 500;
  LoadRun run(options, Workload(Small(4)), {}, {});
  RunResult result{{{}, {}}, {}, 0, 0, 1, false};
  std::jthread runner([&] { result = run.Run(); });
  while (stub.log().most_at_once < 500 && run.Progress().ended == 0) std::this_thread::yield();
  const int threads = ThreadsOfThisProcess();
  runner.join();
  EXPECT_EQ(stub.log().most_at_once, 500);
  EXPECT_LT(threads, 64);
  EXPECT_EQ(result.total.answered, 500);
}

TEST(LoadRunTest, ErrorsAreCountedByCode) {
  StubServer stub([](int64_t number) {
    StubAnswer answer{.first = 0.005};
    if (number % 4 == 1) answer.refuse = grpc::StatusCode::RESOURCE_EXHAUSTED;
    if (number % 10 == 0) answer.refuse = grpc::StatusCode::INTERNAL;
    return answer;
  });
  RunOptions options = For(stub, 1);
  const RunResult result = LoadRun(options, Workload(Small(1)), Rate(Kind::kConstant, 100), {}).Run();
  EXPECT_EQ(result.total.answered, 65);
  EXPECT_EQ(result.total.errors, (std::map<std::string, int64_t>{{"INTERNAL", 10}, {"RESOURCE_EXHAUSTED", 25}}));
  EXPECT_EQ(result.total.messages.at("INTERNAL"), "planned");
  EXPECT_EQ(result.total.time_to_first_token.count(), 65);
}

TEST(LoadRunTest, PlannedCancellationsReachTheServer) {
  StubServer stub([](int64_t) { return StubAnswer{.first = 0.01, .gap = 0.1}; });
  WorkloadOptions workload = Small(20);
  workload.cancel_share = 0.5;
  const RunResult result = LoadRun(For(stub, 1), Workload(workload), Rate(Kind::kConstant, 50), {}).Run();
  EXPECT_GT(result.total.cancelled, 10);
  EXPECT_EQ(result.total.cancelled + result.total.answered, 50);
  EXPECT_EQ(result.total.failed, 0);
  // The server learns of them a little later.
  for (int i = 0; i < 500 && stub.log().running > 0; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_EQ(stub.log().running, 0);
  EXPECT_GE(stub.log().cancelled, result.total.cancelled - 2) << "one at the last token may have ended meanwhile";
}

TEST(LoadRunTest, WhatDoesNotEndIsCutOffAndCounted) {
  StubServer stub([](int64_t number) { return StubAnswer{.first = 0.01, .gap = number < 5 ? 1000.0 : 0.0}; });
  RunOptions options = For(stub, 0.5);
  options.drain = 0.3;
  const RunResult result = LoadRun(options, Workload(Small(2)), Rate(Kind::kConstant, 20), {}).Run();
  EXPECT_EQ(result.total.requests, 10);
  EXPECT_EQ(result.total.errors.at("unfinished"), 5);
  EXPECT_EQ(result.total.time_to_first_token.count(), 10) << "what was seen of them counts";
  EXPECT_LT(result.wall_seconds, 5);
}

TEST(LoadRunTest, StopEndsItSoon) {
  StubServer stub([](int64_t) { return StubAnswer{.first = 0.01, .gap = 1000}; });
  LoadRun run(For(stub, 1000), Workload(Small(2)), Rate(Kind::kConstant, 20), {});
  std::jthread stopper([&] {
    while (run.Progress().running < 5) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    run.Stop();
  });
  const RunResult result = run.Run();
  EXPECT_TRUE(result.stopped);
  EXPECT_EQ(result.total.failed, 0) << "cut off by the user, not by the server";
  EXPECT_LT(result.wall_seconds, 10);
  EXPECT_LT(result.total.seconds(), 10) << "rates count over the time that there was";
}

TEST(LoadRunTest, PositionModesAreMeasuredApart) {
  StubServer stub([](int64_t) { return StubAnswer{.first = 0.01}; });
  WorkloadOptions workload = Small(1);
  workload.positions = *ParsePositionShares("none,rerope");
  RunOptions options = For(stub, 1);
  options.by_position = true;
  const RunResult result = LoadRun(options, Workload(workload), Rate(Kind::kConstant, 50), {}).Run();
  ASSERT_EQ(result.by_position.size(), 2u);
  EXPECT_EQ(result.by_position.at("none").requests + result.by_position.at("rerope").requests, 50);
}

}  // namespace
}  // namespace longhaul::loadgen
