// An engine whose memory ends at any moment: the request at hand ends with RESOURCE_EXHAUSTED, everything it had is
// given back, and the next one is answered as ever.

#include <gtest/gtest.h>

#include <functional>
#include <future>
#include <optional>
#include <string>
#include <type_traits>
#include <variant>
#include <vector>

#include "engine/base/exceptions.h"
#include "engine/base/log.h"
#include "engine/base/overload.h"
#include "engine/engine.h"
#include "tests/engine/engine_fixture.h"
#include "tests/support/failing_memory.h"
#include "tests/support/small_model.h"

namespace longhaul {
namespace {

// A queue of events grows without losing one.
static_assert(std::is_nothrow_move_constructible_v<Event>);

using Params = std::variant<GenerateParams, ScoreParams>;

GenerateParams Generate(std::string text) {
  GenerateParams params = Ask(std::move(text), 12);
  params.stopping.ignore_eos = true;
  params.stopping.stop = {"never"};
  params.sampling.temperature = 1;
  params.sampling.presence_penalty = 1;
  params.seed = 7;
  params.output.logprobs = 3;
  return params;
}

GenerateParams WithSamples() {
  GenerateParams params = Generate("abcdefghij klmnopqrst abcdefghijkl");
  params.samples = 3;
  params.position.kind = position::Rerope{16};
  return params;
}

GenerateParams WithDocuments() {
  GenerateParams params = Generate("abc");
  Contexts contexts;
  contexts.source = std::vector<Document>{{"a", "abc def ghi jkl"}, {"b", "aaa bbb ccc"}};
  contexts.document_template = "{document} {question}";
  params.contexts = contexts;
  params.output.entropies = true;
  return params;
}

ScoreParams Score() {
  ScoreParams params;
  params.prompt = TextPrompt{"a b c d e f g h i j k l m n o p q r s t a b c d e f g h i j k l m n o p q r s t"};
  params.top_logprobs = 5;
  return params;
}

// With and without one step ahead.
class OutOfMemoryTest : public ::testing::TestWithParam<bool> {
 protected:
  OutOfMemoryTest() {
    EXPECT_TRUE(SetLogLevel("off").ok());
    EngineOptions options;
    options.model_path = SmallModelPath();
    options.threads = 2;
    options.kv_cache_bytes = 4 << 20;
    options.max_batch_tokens = 64;
    options.one_step_ahead = GetParam();
    engine_ = MakeEngine(options);
  }

  // None where not even a stream could be made.
  std::optional<Outcome> Try(const Params& params) {
    std::shared_ptr<EventStream> stream;
    {
      Request request;
      {
        const SparedThread spared;
        request.params = params;
      }
      try {
        stream = engine_->Submit(std::move(request), nullptr);
      } catch (const std::bad_alloc&) {
        return std::nullopt;
      }
    }
    const SparedThread spared;
    return Collect(*stream);
  }

  void ExpectSame(const Outcome& a, const Outcome& b) {
    EXPECT_TRUE(a.finished.status.ok()) << a.finished.status;
    EXPECT_EQ(a.text, b.text);
    EXPECT_EQ(a.ids, b.ids);
    EXPECT_EQ(a.logprobs, b.logprobs);
    EXPECT_EQ(a.finished.reason, b.finished.reason);
  }

  // Asks with memory that ends at ever later moments, until it does so too late.
  void AskAgainAndAgain(const Params& params, int64_t count) {
    const Outcome expected = AnswerTo(*engine_, params);
    ASSERT_TRUE(expected.finished.status.ok()) << expected.finished.status;
    int tried = 0;
    for (int64_t first = 0;; first += 1 + first / 12, ++tried) {
      SCOPED_TRACE(first);
      FailAllocations(first, count);
      const std::optional<Outcome> outcome = Try(params);
      const int64_t failed = RestoreAllocations();
      if (outcome.has_value() && outcome->finished.status.ok()) {
        ExpectSame(*outcome, expected);
        if (failed == 0) break;
      } else if (outcome.has_value()) {
        EXPECT_EQ(outcome->finished.status, OutOfMemoryError());
        EXPECT_TRUE(RetryAfterOf(outcome->finished.status).has_value());
      }
      ExpectAllFree(*engine_);
      if (tried % 4 == 0) ExpectSame(AnswerTo(*engine_, params), expected);
      if (HasFailure()) break;
    }
    EXPECT_GT(tried, 20);
    ExpectSame(AnswerTo(*engine_, params), expected);
  }

  std::unique_ptr<Engine> engine_;
};

constexpr int64_t kOne = 1, kAllThatFollow = int64_t{1} << 40;

INSTANTIATE_TEST_SUITE_P(, OutOfMemoryTest, ::testing::Bool(),
                         [](const auto& ahead) { return ahead.param ? "one_ahead" : "one_by_one"; });

TEST_P(OutOfMemoryTest, OneAllocationOfAnAnswerFails) {
  AskAgainAndAgain(Generate("abc def ghi jkl mno pqr st"), kOne);
}

TEST_P(OutOfMemoryTest, MemoryEndsInAnAnswer) {
  AskAgainAndAgain(Generate("abc def ghi jkl mno pqr st"), kAllThatFollow);
}

TEST_P(OutOfMemoryTest, OneAllocationOfSeveralAnswersFails) {
  AskAgainAndAgain(WithSamples(), kOne);
}

TEST_P(OutOfMemoryTest, MemoryEndsInSeveralAnswers) {
  AskAgainAndAgain(WithSamples(), kAllThatFollow);
}

TEST_P(OutOfMemoryTest, OneAllocationOfAnAnswerFromDocumentsFails) {
  AskAgainAndAgain(WithDocuments(), kOne);
}

TEST_P(OutOfMemoryTest, MemoryEndsInAnAnswerFromDocuments) {
  AskAgainAndAgain(WithDocuments(), kAllThatFollow);
}

TEST_P(OutOfMemoryTest, OneAllocationOfAScoreFails) {
  AskAgainAndAgain(Score(), kOne);
}

TEST_P(OutOfMemoryTest, MemoryEndsInAScore) {
  AskAgainAndAgain(Score(), kAllThatFollow);
}

// Each stream ends, some of them whole.
TEST_P(OutOfMemoryTest, MemoryEndsNowAndThenAmongMany) {
  const std::vector<Params> all = {Generate("abc"), WithSamples(), WithDocuments(), Score(), Generate("def ghi jkl")};
  std::vector<Outcome> expected;
  for (const Params& params : all) expected.push_back(AnswerTo(*engine_, params));
  int whole = 0, ended = 0;
  for (int round = 0; round < 40; ++round) {
    std::vector<std::shared_ptr<EventStream>> streams;
    for (const Params& params : all) streams.push_back(Start(*engine_, params));
    const SparedThread spared;
    FailAllocations(round * round * 8, 1 + round % 5);
    for (size_t i = 0; i < streams.size(); ++i) {
      const Outcome outcome = Collect(*streams[i]);
      if (outcome.finished.status.ok()) {
        ExpectSame(outcome, expected[i]);
        ++whole;
      } else {
        EXPECT_EQ(outcome.finished.status, OutOfMemoryError());
        ++ended;
      }
    }
    RestoreAllocations();
    ExpectAllFree(*engine_);
  }
  EXPECT_GT(whole, 0);
  EXPECT_GT(ended, 0);
}

TEST_P(OutOfMemoryTest, TextsOnThePoolEndWithAStatus) {
  const Prompt prompt = TextPrompt{std::string(5000, 'a') + " bcd efg" + std::string(5000, 'h')};
  const std::vector<TokenId> expected = *engine_->Tokenize(prompt, false);
  int failed = 0;
  for (int64_t first = 0; first < 3000; first += 1 + first / 10) {
    absl::Status status;
    std::vector<TokenId> ids;
    std::promise<void> done;
    std::function<void()> work = [&] {
      status = CatchExceptions([&]() -> absl::Status {
        auto made = engine_->Tokenize(prompt, false);
        if (made.ok()) ids = *std::move(made);
        return made.status();
      });
      const SparedThread spared;
      done.set_value();
    };
    FailAllocations(first, kOne);
    const absl::Status added = engine_->RunOnTextPool(std::move(work));
    const SparedThread spared;
    if (added.ok()) done.get_future().wait();
    RestoreAllocations();
    if (added.ok() && status.ok()) {
      EXPECT_EQ(ids, expected);
    } else {
      EXPECT_EQ(added.ok() ? status : added, OutOfMemoryError());
      ++failed;
    }
  }
  EXPECT_GT(failed, 10);
}

TEST(OutOfMemoryAtStart, AModelThatCannotBeLoadedIsAStatus) {
  EngineOptions options;
  options.model_path = SmallModelPath();
  options.threads = 3;
  options.kv_cache_bytes = 4 << 20;
  int64_t failed = 1;
  for (int64_t first = 0; failed > 0; first += 1 + first / 6) {
    SCOPED_TRACE(first);
    FailAllocations(first, kOne);
    auto engine = Engine::Create(options);
    failed = RestoreAllocations();
    EXPECT_TRUE(engine.ok() || absl::IsResourceExhausted(engine.status())) << engine.status();
    EXPECT_TRUE(engine.ok() || !engine.status().message().empty());
  }
}

}  // namespace
}  // namespace longhaul
