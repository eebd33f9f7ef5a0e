#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/engine/engine_fixture.h"
#include "tests/support/fake_engine.h"

namespace longhaul {

using std::chrono::milliseconds;

// Tests of an engine without a model, of which each runs twice: steps one by one, and one ahead (the parameter).
class FakeEngineTest : public ::testing::TestWithParam<bool> {
 protected:
  FakeEngineTest() { runner_options_.one_step_ahead = GetParam(); }

  bool ahead() const { return GetParam(); }
  // Made of the options when it is first asked for.
  FakeEngine& fake() {
    if (!fake_.has_value()) fake_.emplace(options_, runner_options_);
    return *fake_;
  }
  void DestroyEngine() { fake_.reset(); }
  Engine& engine() { return *fake().engine; }
  FakeRunner& runner() { return *fake().runner; }
  FakeTime& time() { return fake().time; }

  std::shared_ptr<EventStream> Submit(std::variant<GenerateParams, ScoreParams> params,
                                      std::optional<milliseconds> deadline = std::nullopt,
                                      const std::string& client = "") {
    Request request;
    request.client = client;
    request.params = std::move(params);
    if (deadline.has_value()) request.deadline = time().Now() + *deadline;
    return engine().Submit(std::move(request), nullptr);
  }
  Outcome Answer(std::variant<GenerateParams, ScoreParams> params) { return AnswerTo(engine(), std::move(params)); }

  // A request that nothing but its stream's room, its deadline and who cancels it ends before `tokens` tokens.
  static GenerateParams Endless(int64_t tokens = 450) { return Ask("One, two, three,", tokens); }
  // A prompt that has no beginning in common with another.
  GenerateParams Reading(size_t tokens, int64_t max_tokens = 1) {
    GenerateParams params = Ask("", max_tokens);
    params.prompt = TokenPrompt{std::vector<TokenId>(tokens, next_token_++)};
    return params;
  }
  // Waits for the next event of this kind; those before it are taken too.
  template <typename Kind>
  static void Await(EventStream& stream) {
    while (std::optional<Event> event = stream.Next()) {
      if (std::holds_alternative<Kind>(*event)) return;
    }
    ADD_FAILURE() << "the stream ended before";
  }

  EngineOptions options_;
  FakeRunner::Options runner_options_;

 private:
  TokenId next_token_ = 'a';
  std::optional<FakeEngine> fake_;
};

inline std::string StepsName(const ::testing::TestParamInfo<bool>& info) {
  return info.param ? "one_ahead" : "one_by_one";
}

}  // namespace longhaul
