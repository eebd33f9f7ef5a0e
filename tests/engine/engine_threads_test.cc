// Many clients of one engine on a tiny model: nothing is lost, nothing is mixed up, no block stays behind. Also what
// the thread sanitizer runs of the engine.

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "engine/engine.h"
#include "tests/engine/engine_fixture.h"
#include "tests/support/gguf_writer.h"

namespace longhaul {
namespace {

class EngineThreadsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    path_ = std::filesystem::temp_directory_path() / ("longhaul-tiny-" + std::to_string(getpid()) + ".gguf");
    const std::vector<std::byte> bytes = TinyModel().Build();
    std::ofstream(path_, std::ios::binary).write(reinterpret_cast<const char*>(bytes.data()), std::ssize(bytes));
    EngineOptions options;
    options.model_path = path_;
    options.threads = 2;
    options.kv_cache_bytes = 200000;  // less than the requests want together
    options.max_batch_tokens = 32;
    options.events_per_stream = 8;
    auto engine = Engine::Create(options);
    ASSERT_TRUE(engine.ok()) << engine.status();
    engine_ = *std::move(engine);
  }
  void TearDown() override {
    engine_.reset();
    std::filesystem::remove(path_);
  }

  static GenerateParams Numbered(int number) {
    GenerateParams params;
    TokenPrompt prompt;
    for (int i = 0; i < 1 + number % 50; ++i) prompt.ids.push_back((number + i * 7) % 60);
    params.prompt = prompt;
    params.stopping.max_tokens = 1 + number % 40;
    params.stopping.ignore_eos = true;
    params.sampling.temperature = number % 3 == 0 ? 0.0f : 1.0f;
    params.seed = static_cast<uint64_t>(number);
    params.output.token_ids = true;
    return params;
  }

  std::filesystem::path path_;
  std::unique_ptr<Engine> engine_;
};

TEST_F(EngineThreadsTest, EveryClientGetsItsOwnAnswerWhole) {
  constexpr int kClients = 4, kRequests = 40;
  std::map<int, std::vector<TokenId>> alone;
  for (int number = 0; number < 60; ++number) alone[number] = AnswerTo(*engine_, Numbered(number)).ids;
  std::atomic<bool> done{false};
  std::thread looking([&] {
    while (!done) {
      for (const RequestInfo& info : engine_->ListRequests()) {
        EXPECT_LE(info.progress.tokens_read, info.prompt_tokens);
        EXPECT_LE(info.progress.tokens_generated, 40);
      }
    }
  });
  std::vector<std::thread> clients;
  for (int client = 0; client < kClients; ++client) {
    clients.emplace_back([&, client] {
      std::mt19937 random(static_cast<unsigned>(client));
      for (int i = 0; i < kRequests; ++i) {
        const int number = static_cast<int>(random() % 60);
        const auto stream = Start(*engine_, Numbered(number));
        if (random() % 4 == 0) engine_->Cancel(*stream);
        const Outcome outcome = Collect(*stream);
        if (outcome.finished.reason == FinishReason::kLength) {
          EXPECT_EQ(outcome.ids, alone.at(number));
        } else {
          EXPECT_EQ(outcome.finished.status.code(), absl::StatusCode::kCancelled);
        }
      }
    });
  }
  for (std::thread& client : clients) client.join();
  done = true;
  looking.join();
  ExpectAllFree(*engine_);
  EXPECT_TRUE(engine_->Drain(std::chrono::seconds(30)));
}

// What is counted while others read it, and what it comes to.
TEST_F(EngineThreadsTest, EveryRequestIsCountedOnce) {
  constexpr int kClients = 4, kRequests = 20;
  const Telemetry& telemetry = engine_->telemetry();
  std::atomic<bool> ended = false;
  std::thread reader([&] {
    while (!ended) {
      for (const auto& of_mode : telemetry.requests) (void)of_mode[0].inter_token_latency.Read().count();
      (void)engine_->Stats();
    }
  });
  std::atomic<int64_t> prompt_tokens = 0, tokens = 0, answers = 0, at_once = 0;
  std::atomic<int64_t> decode_nanoseconds = 0;
  std::vector<std::thread> clients;
  for (int client = 0; client < kClients; ++client) {
    clients.emplace_back([&, client] {
      for (int i = 0; i < kRequests; ++i) {
        const int number = client * kRequests + i;
        const auto stream = Start(*engine_, Numbered(number));
        if (i % 5 == 0) engine_->Cancel(*stream);
        const Finished finished = Collect(*stream).finished;
        if (finished.refused) {  // cancelled while it was tokenized
          ++at_once;
          continue;
        }
        ++answers;
        tokens += finished.usage.completion_tokens;
        prompt_tokens += finished.usage.prompt_tokens;
        decode_nanoseconds += std::llround(finished.timings.decode * 1e9);
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_TRUE(engine_->Drain(std::chrono::seconds(30)));
  ended = true;
  reader.join();

  const RequestTelemetry& plain = engine_->telemetry().Of({.kind = position::None()}, DecodingKind::kPlain);
  const auto& finished = plain.finished[static_cast<size_t>(RequestMethod::kGenerate)];
  const int64_t whole = finished[FinishReason::kLength].value(), cancelled = finished[FinishReason::kCancelled].value();
  EXPECT_GE(whole, kClients * kRequests * 4 / 5);
  EXPECT_EQ(whole + cancelled, answers);
  EXPECT_EQ(whole + cancelled + at_once, kClients * kRequests);
  EXPECT_EQ(plain.duration[FinishReason::kLength].Read().count(), whole);
  EXPECT_EQ(plain.generated.value(), tokens);
  EXPECT_EQ(plain.time_to_first_token.Read().count() + plain.inter_token_latency.Read().count(), tokens);
  EXPECT_EQ(plain.generation_tokens.Read().sum, tokens);
  EXPECT_EQ(plain.prompt_tokens.Read().sum, prompt_tokens);
  EXPECT_EQ(plain.decode_time.Read().sum, decode_nanoseconds);
  EXPECT_LE(telemetry.prompt_tokens[TokenSource::kComputed].value(), prompt_tokens);
  EXPECT_EQ(telemetry.prompt_tokens[TokenSource::kComputed].value(),
            telemetry.step_tokens[StepKind::kPrefill].Read().sum);
  const int64_t steps = engine_->Stats().steps;
  for (const StepPhase phase : {StepPhase::kSchedule, StepPhase::kForward, StepPhase::kSample, StepPhase::kEmit}) {
    EXPECT_EQ(telemetry.step_time[phase].Read().count(), steps);
  }
  EXPECT_GT(telemetry.last_step, 0);
}

TEST_F(EngineThreadsTest, WhatIsRefusedIsCountedByItsReason) {
  GenerateParams endless = Numbered(1);
  endless.stopping.max_tokens = 1 << 20;
  EXPECT_TRUE(AnswerTo(*engine_, endless).finished.refused);
  EXPECT_EQ(engine_->telemetry().rejections[Rejection::kNoBlocks].value(), 1);
  EXPECT_TRUE(engine_->Drain(std::chrono::seconds(30)));
  EXPECT_TRUE(AnswerTo(*engine_, Numbered(1)).finished.refused);
  EXPECT_EQ(engine_->telemetry().rejections[Rejection::kDraining].value(), 1);
}

TEST_F(EngineThreadsTest, ADeadlineThatPassedInTheQueueIsCountedThere) {
  Request request;
  request.params = Numbered(1);
  request.deadline = Clock::now();
  EXPECT_TRUE(Collect(*engine_->Submit(std::move(request), nullptr)).finished.refused);
  EXPECT_EQ(engine_->telemetry().deadlines_expired[RequestStage::kQueue].value(), 1);
  EXPECT_EQ(engine_->telemetry().deadlines_expired[RequestStage::kRunning].value(), 0);
}

TEST_F(EngineThreadsTest, AnEngineThatGoesAwayEndsItsStreams) {
  std::vector<std::shared_ptr<EventStream>> streams;
  for (int i = 0; i < 20; ++i) streams.push_back(Start(*engine_, Numbered(39)));
  engine_.reset();
  for (const auto& stream : streams) {
    const Finished finished = Collect(*stream).finished;
    EXPECT_TRUE(finished.reason == FinishReason::kLength || absl::IsUnavailable(finished.status)) << finished.status;
  }
}

}  // namespace
}  // namespace longhaul
