#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
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

// Waits until the engine, between two steps, has taken back every block; false when it never does.
inline bool AllBlocksComeBack(const Engine& engine) {
  for (int i = 0; i < 10000 && engine.Stats().blocks_used > 0; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return engine.Stats().blocks_used == 0;
}

}  // namespace longhaul
