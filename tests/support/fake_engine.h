#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "tests/support/fake_runner.h"
#include "tests/support/fake_time.h"

namespace longhaul {

// Ids are bytes; behind them the end of a text, and ChatML's two marks.
inline constexpr TokenId kFakeEos = 256, kFakeVocabulary = 259;

// Logits of a model that says the alphabet: after 'a' comes 'b', after 'z' 'a', and after '.' the text ends. Whatever
// else stands in the text makes a difference too small to change that.
std::vector<float> AlphabetLogits(std::span<const TokenId> text);

// An engine without a model: bytes are its tokens, a FakeRunner its device, and its clock stands still but for what the
// steps take. 512 tokens are what it was trained for.
struct FakeEngine {
  explicit FakeEngine(EngineOptions options = {}, FakeRunner::Options runner_options = {});
  ~FakeEngine();

  FakeTime time;
  FakeRunner* runner;  // the engine's
  std::unique_ptr<Engine> engine;
};

}  // namespace longhaul
