// Requests of all kinds that come, are read, cancelled, too late and given up at random, on a small cache: whatever
// happens, what is told of an answer is what a plain loop over the same logits makes.

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "engine/decoding/log_softmax.h"
#include "tests/engine/engine_fixture.h"
#include "tests/support/fake_engine.h"

namespace longhaul {
namespace {

using std::chrono::milliseconds;

// Letters at random, now and then a dot, and behind that the end.
std::vector<float> LetterLogits(std::span<const TokenId> text) {
  std::vector<float> logits = AlphabetLogits(text);
  for (size_t id = 0; id < logits.size(); ++id) {
    const bool is_letter = id >= 'a' && id <= 'z';
    logits[id] = is_letter ? 3 * std::min(logits[id], 1.5f) : id == '.' ? 3 * logits[id] : -100;
  }
  if (text.back() == '.') logits[static_cast<size_t>(kFakeEos)] = 10;
  return logits;
}

struct Expected {
  std::vector<TokenId> ids;
  std::string text;
  FinishReason reason = FinishReason::kLength;
};

// What becomes of one answer, token by token.
Expected Simulate(const std::string& prompt, const GenerateParams& params, uint64_t sample) {
  SamplerSpec spec;
  spec.params = params.sampling;
  spec.params.seed = params.seed.value_or(0);
  spec.end_tokens = {kFakeEos};
  spec.stop_tokens = params.stopping.stop_token_ids;
  std::vector<TokenId> text(prompt.begin(), prompt.end());
  for (TokenId id : text) ++spec.prompt_counts[id];
  Expected expected;
  std::vector<TokenCount> counts;
  for (int64_t index = 0; index < *params.stopping.max_tokens; ++index) {
    SamplerInput input;
    input.spec = &spec;
    input.answer_counts = counts;
    input.forbidden = params.stopping.ignore_eos ? ForbiddenTokens::kEnds : ForbiddenTokens::kNone;
    input.sample = sample;
    input.index = static_cast<uint64_t>(index);
    const TokenId id = SampleToken(LetterLogits(text), input).id;
    if (std::ranges::find(spec.stop_tokens, id) != spec.stop_tokens.end()) expected.reason = FinishReason::kStop;
    if (id == kFakeEos) expected.reason = FinishReason::kEos;
    if (expected.reason != FinishReason::kLength) return expected;
    text.push_back(id);
    expected.ids.push_back(id);
    expected.text += static_cast<char>(id);
    const auto count = std::ranges::find(counts, id, &TokenCount::id);
    if (count != counts.end()) {
      ++count->count;
    } else {
      counts.push_back({id, 1});
    }
    for (const std::string& stop : params.stopping.stop) {
      if (const size_t at = expected.text.find(stop); at != std::string::npos) {
        expected.text.resize(at);
        expected.reason = FinishReason::kStop;
        return expected;
      }
    }
  }
  return expected;
}

// A request, and what has been read of it.
struct Client {
  std::string prompt;
  std::variant<GenerateParams, ScoreParams> params;
  std::shared_ptr<EventStream> stream;
  std::vector<std::vector<TokenId>> ids;  // [samples]
  std::vector<std::string> texts;
  std::vector<std::optional<FinishReason>> ended;
  std::vector<float> scores;
  bool has_started = false;
  std::optional<Finished> finished;

  void Take(Event event) {
    ASSERT_FALSE(finished.has_value()) << "an event behind the last one";
    if (std::holds_alternative<Started>(event)) {
      EXPECT_FALSE(has_started);
      has_started = true;
    } else if (auto* last = std::get_if<Finished>(&event)) {
      finished = std::move(*last);
    } else {
      EXPECT_TRUE(has_started);
    }
    if (const auto* chunk = std::get_if<Chunk>(&event)) {
      EXPECT_FALSE(ended[chunk->sample].has_value()) << "a chunk behind the last one of an answer";
      for (const ChunkToken& token : chunk->tokens) ids[chunk->sample].push_back(token.id);
      texts[chunk->sample] += chunk->text;
      ended[chunk->sample] = chunk->ended;
    }
    if (const auto* chunk = std::get_if<ScoreChunk>(&event)) {
      EXPECT_EQ(chunk->first_token, std::ssize(scores) + 1) << "a score is missing or told twice";
      for (const ScoredToken& token : chunk->tokens) scores.push_back(token.logprob);
    }
  }

  void Check() const {
    ASSERT_TRUE(finished.has_value());
    if (const auto* generate = std::get_if<GenerateParams>(&params)) return CheckAnswers(*generate);
    if (finished->status.ok()) {
      EXPECT_EQ(scores.size(), prompt.size() - 1);
    }
    std::vector<TokenId> text;
    for (size_t i = 0; i < scores.size(); ++i) {
      text.push_back(prompt[i]);
      const std::vector<float> logits = LetterLogits(text);
      EXPECT_EQ(scores[i], LogProbability(logits[static_cast<size_t>(prompt[i + 1])], LogSumExp(logits)));
    }
  }
  void CheckAnswers(const GenerateParams& generate) const {
    int64_t tokens = 0;
    for (size_t sample = 0; sample < ids.size(); ++sample) {
      SCOPED_TRACE(sample);
      const Expected expected = Simulate(prompt, generate, sample);
      tokens += std::ssize(ids[sample]);
      const bool is_whole = finished->status.ok() || ended[sample].has_value();
      if (is_whole) {
        EXPECT_EQ(ids[sample], expected.ids);
        EXPECT_EQ(texts[sample], expected.text);
        EXPECT_EQ(ids.size() > 1 ? ended[sample] : finished->reason, expected.reason);
      } else {
        ASSERT_LE(ids[sample].size(), expected.ids.size());
        EXPECT_TRUE(std::equal(ids[sample].begin(), ids[sample].end(), expected.ids.begin()));
        EXPECT_EQ(texts[sample], std::string(ids[sample].begin(), ids[sample].end())) << "what was held back";
      }
    }
    EXPECT_EQ(finished->usage.completion_tokens, tokens);
  }
};

class Traffic {
 public:
  explicit Traffic(unsigned seed, bool ahead) : random_(seed) {
    EngineOptions options;
    options.max_rows = OneOf({3, 8, 8});
    options.events_per_stream = static_cast<size_t>(OneOf({4, 8, 12, 64}));
    options.stream_stall_timeout = milliseconds(OneOf({0, 40, 1000}));
    options.prefix_cache = OneOf({0, 1, 1}) == 1;
    FakeRunner::Options runner;
    runner.one_step_ahead = ahead;
    runner.limits.max_tokens = runner.limits.max_logit_rows = OneOf({8, 16, 64});
    runner.geometry.n_blocks = OneOf({24, 40, 120});
    runner.logits = LetterLogits;
    const auto unit = std::chrono::microseconds(OneOf({1, 300}));
    runner.step_time = [unit](const Batch& batch) { return batch.n_tokens() * unit; };
    fake_ = std::make_unique<FakeEngine>(options, runner);
  }

  void Run() {
    for (int i = 0; i < 120; ++i) {
      const int64_t action = Below(100);
      if (action < 30) {
        Submit();
      } else if (action < 75 && !clients_.empty()) {
        Client& client = clients_[static_cast<size_t>(Below(std::ssize(clients_)))];
        if (auto event = client.stream->TryNext()) client.Take(*std::move(event));
      } else if (action < 82 && !clients_.empty()) {
        fake_->engine->Cancel(*clients_[static_cast<size_t>(Below(std::ssize(clients_)))].stream);
      } else if (action < 90) {
        fake_->time.Advance(milliseconds(Below(20)));
      } else {
        ReadAll(Below(10));
      }
    }
    const int64_t end = Below(4);
    if (end == 0) {
      fake_->engine->Drain(milliseconds(0));
    } else if (end == 1) {
      fake_->engine.reset();
    }
    while (HasUnfinished()) {
      const int64_t seen = told_.load();
      ReadAll(1);
      if (HasUnfinished()) told_.wait(seen);
    }
    for (const Client& client : clients_) client.Check();
    if (end > 1) ExpectAllFree(*fake_->engine);
  }
  int64_t preemptions() const { return fake_->engine ? fake_->engine->telemetry().preemptions.value() : 0; }
  int64_t n_whole() const {
    return std::ranges::count_if(clients_, [](const Client& client) { return client.finished->status.ok(); });
  }
  int64_t n_clients() const { return std::ssize(clients_); }

 private:
  int64_t Below(int64_t n) { return static_cast<int64_t>(random_() % static_cast<uint64_t>(n)); }
  int64_t OneOf(std::vector<int64_t> values) { return values[static_cast<size_t>(Below(std::ssize(values)))]; }

  void Submit() {
    Client client;
    client.prompt = std::string(static_cast<size_t>(OneOf({1, 3, 17, 40})), static_cast<char>('a' + Below(3)));
    client.prompt += static_cast<char>('a' + Below(26));
    Request request;
    request.priority = static_cast<int>(Below(3));
    request.client = std::string(1, static_cast<char>('a' + Below(2)));
    if (Below(4) == 0) request.deadline = fake_->time.Now() + milliseconds(1 + Below(60));
    if (Below(6) == 0) {
      ScoreParams score;
      score.prompt = TextPrompt{client.prompt};
      client.params = score;
    } else {
      GenerateParams params = Ask(client.prompt, 1 + Below(30));
      params.seed = random_();
      params.samples = OneOf({1, 1, 1, 2, 3});
      if (Below(2) == 0) params.sampling.temperature = 1;
      if (Below(3) == 0) params.sampling.repetition_penalty = 1.5f;
      if (Below(3) == 0) params.sampling.frequency_penalty = 0.7f;
      if (Below(3) == 0) params.stopping.stop = {std::string(1, static_cast<char>('a' + Below(26))) + "a", "q", "xyz"};
      if (Below(4) == 0) params.stopping.stop_token_ids = {static_cast<TokenId>('a' + Below(26))};
      params.stopping.ignore_eos = Below(3) == 0;
      client.ids.resize(static_cast<size_t>(params.samples));
      client.texts.resize(client.ids.size());
      client.ended.resize(client.ids.size());
      client.params = params;
    }
    request.params = client.params;
    client.stream = fake_->engine->Submit(std::move(request), [this](bool) {
      ++told_;
      told_.notify_all();
    });
    clients_.push_back(std::move(client));
  }
  // What is there of every stream, `rounds` times.
  void ReadAll(int64_t rounds) {
    for (int64_t i = 0; i < rounds; ++i) {
      for (Client& client : clients_) {
        while (auto event = client.stream->TryNext()) client.Take(*std::move(event));
      }
    }
  }
  bool HasUnfinished() const {
    return std::ranges::any_of(clients_, [](const Client& client) { return !client.finished.has_value(); });
  }

  std::mt19937_64 random_;
  std::atomic<int64_t> told_{0};
  std::vector<Client> clients_;
  std::unique_ptr<FakeEngine> fake_;  // tells the streams' readers until it has gone
};

TEST(RandomRequests, AreAnsweredAsByAPlainLoop) {
  int64_t preemptions = 0, whole = 0, all = 0;
  for (unsigned seed = 0; seed < 100; ++seed) {
    for (const bool ahead : {false, true}) {
      SCOPED_TRACE(testing::Message() << "seed " << seed << (ahead ? ", one step ahead" : ""));
      Traffic traffic(seed, ahead);
      traffic.Run();
      if (testing::Test::HasFailure()) return;
      preemptions += traffic.preemptions();
      whole += traffic.n_whole();
      all += traffic.n_clients();
    }
  }
  EXPECT_GT(preemptions, 20);
  EXPECT_GT(whole, all / 4);
  EXPECT_LT(whole, all * 3 / 4);
}

}  // namespace
}  // namespace longhaul
