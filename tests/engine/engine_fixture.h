#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <latch>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "tests/support/test_model.h"

namespace longhaul {

inline constexpr int64_t kBlock = 16;  // tokens of a block of the CPU's cache

// All that a request came to; of several answers one after the other, whatever order their chunks came in.
struct Outcome {
  Started started;
  std::string text;
  std::vector<TokenId> ids;
  std::vector<float> logprobs;  // of the answer, or of the scored tokens
  std::vector<std::vector<TokenLogprob>> top;
  int progress_events = 0;
  Finished finished;
};

inline Outcome Collect(EventStream& stream) {
  Outcome outcome;
  std::vector<Chunk> chunks;
  while (std::optional<Event> event = stream.Next()) {
    if (auto* started = std::get_if<Started>(&*event)) outcome.started = *started;
    if (std::holds_alternative<Progress>(*event)) ++outcome.progress_events;
    if (auto* chunk = std::get_if<Chunk>(&*event)) chunks.push_back(std::move(*chunk));
    if (auto* scores = std::get_if<ScoreChunk>(&*event)) {
      for (ScoredToken& token : scores->tokens) {
        outcome.logprobs.push_back(token.logprob);
        outcome.top.push_back(std::move(token.top));
      }
    }
    if (auto* finished = std::get_if<Finished>(&*event)) outcome.finished = *finished;
  }
  std::ranges::stable_sort(chunks, {}, &Chunk::sample);
  for (Chunk& chunk : chunks) {
    outcome.text += chunk.text;
    for (ChunkToken& token : chunk.tokens) {
      outcome.ids.push_back(token.id);
      if (token.logprob.has_value()) outcome.logprobs.push_back(*token.logprob);
      outcome.top.push_back(std::move(token.top));
    }
  }
  return outcome;
}

// On the default model, if the options name no other.
inline std::unique_ptr<Engine> MakeEngine(EngineOptions options = {}) {
  if (options.model_path.empty()) options.model_path = TestModelPath();
  if (options.kv_cache_bytes == 0) options.kv_cache_bytes = int64_t{512} << 20;
  auto engine = Engine::Create(options);
  EXPECT_TRUE(engine.ok()) << engine.status();
  return engine.ok() ? *std::move(engine) : nullptr;
}

inline GenerateParams Ask(std::string text, int64_t max_tokens) {
  GenerateParams params;
  params.prompt = TextPrompt{std::move(text)};
  params.stopping.max_tokens = max_tokens;
  params.output.token_ids = true;
  params.output.logprobs = 0;
  return params;
}

inline std::shared_ptr<EventStream> Start(Engine& engine, std::variant<GenerateParams, ScoreParams> params) {
  Request request;
  request.params = std::move(params);
  return engine.Submit(std::move(request), nullptr);
}

inline Outcome AnswerTo(Engine& engine, std::variant<GenerateParams, ScoreParams> params) {
  return Collect(*Start(engine, std::move(params)));
}

// Waits until the texts of all requests that were submitted have been tokenized. The pool works off what it has in
// order: once all of its threads have come together there is nothing before.
inline void AwaitPrepared(Engine& engine) {
  constexpr int kTextThreads = 2;
  const auto together = std::make_shared<std::latch>(kTextThreads + 1);
  for (int i = 0; i < kTextThreads; ++i) {
    const absl::Status added = engine.RunOnTextPool([together] { together->arrive_and_wait(); });
    ASSERT_TRUE(added.ok()) << added;
  }
  together->arrive_and_wait();
}

// The engine's figures once it can do no more, because what it has waits for its readers, for room or for time, and has
// put away what has ended: a reader is told before that. Has the engine read one token, until nothing else is computed
// meanwhile; the figures of what runs and waits leave that out. REQUIRES: the engine accepts and admits it.
inline EngineStats StatsAtRest(Engine& engine) {
  AwaitPrepared(engine);
  EngineStats stats;
  for (int64_t before = -1;;) {
    const auto told = std::make_shared<std::optional<EngineStats>>();
    Request request;
    request.priority = 100;
    GenerateParams& params = std::get<GenerateParams>(request.params);
    params.prompt = TokenPrompt{{1}};
    params.stopping.max_tokens = 0;
    request.id = "at rest";
    // Told of Started, on the engine's thread, when the figures have been written that count its one row of one block.
    const auto stream = engine.Submit(std::move(request), [&engine, told](bool) {
      if (told->has_value()) return;
      *told = engine.Stats();
      for (const RequestInfo& info : engine.ListRequests()) {
        if (info.id != "at rest") continue;
        const bool waits = info.progress.phase == RequestPhase::kWaiting;
        --(waits ? (*told)->waiting : (*told)->running);
        if (waits) --(*told)->waiting_tokens;
      }
    });
    const Finished finished = Collect(*stream).finished;
    EXPECT_TRUE(finished.status.ok()) << finished.status;
    if (!finished.status.ok()) return stats;
    stats = told->value();
    const int64_t computed = stats.prefill_tokens + stats.decode_tokens;
    if (before >= 0 && computed == before + 1) break;
    before = computed;
  }
  --stats.running_rows;
  --stats.blocks_used;
  return stats;
}

// Whether nothing is left of what has ended, and nothing runs. REQUIRES: as StatsAtRest.
inline void ExpectAllFree(Engine& engine) {
  const EngineStats stats = StatsAtRest(engine);
  EXPECT_EQ(stats.blocks_used, 0);
  EXPECT_EQ(stats.running_rows, 0);
  EXPECT_EQ(stats.running, 0);
  EXPECT_EQ(stats.waiting, 0);
  EXPECT_EQ(stats.waiting_tokens, 0);
  EXPECT_TRUE(engine.ListRequests().empty());
}

}  // namespace longhaul
