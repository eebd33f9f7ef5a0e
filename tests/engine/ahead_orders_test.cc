// What happens while a step and the one after it are in flight, in every order: nothing is lost, told twice or written
// where somebody else writes.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/engine/engine_fixture.h"
#include "tests/support/fake_engine.h"

namespace longhaul {
namespace {

using std::chrono::milliseconds;

class AheadOrdersTest : public ::testing::Test {
 protected:
  AheadOrdersTest() { runner_options_.one_step_ahead = true; }

  FakeEngine& fake() {
    if (!fake_.has_value()) fake_.emplace(options_, runner_options_);
    return *fake_;
  }
  Engine& engine() { return *fake().engine; }
  FakeRunner& runner() { return *fake().runner; }

  // A request of which steps 1 and 2 are in flight: its first token has been told, two more have not. The engine stands
  // before what step 1 made.
  std::shared_ptr<EventStream> TwoInFlight(GenerateParams params, std::optional<milliseconds> deadline = std::nullopt) {
    Request request;
    request.params = std::move(params);
    if (deadline.has_value()) request.deadline = fake().time.Now() + *deadline;
    runner().Hold();
    auto stream = engine().Submit(std::move(request), nullptr);
    runner().AwaitHeld();
    runner().Pass(1);
    EXPECT_EQ(runner().submitted(), 3);
    return stream;
  }
  // After it has ended with step 2 in flight: what it told, and that its blocks came back when that was collected.
  Outcome EndedWithOneInFlight(EventStream& stream) {
    EXPECT_TRUE(stream.ended());
    EXPECT_EQ(runner().submitted(), 3) << "nothing was begun for it any more";
    EXPECT_GT(engine().Stats().blocks_used, 0) << "the step in flight writes to them";
    runner().Resume();
    Outcome outcome = Collect(stream);
    EXPECT_EQ(outcome.finished.usage.completion_tokens, std::ssize(outcome.ids));
    ExpectAllFree(engine());
    return outcome;
  }

  EngineOptions options_;
  FakeRunner::Options runner_options_;

 private:
  std::optional<FakeEngine> fake_;
};

TEST_F(AheadOrdersTest, Cancelled) {
  const auto stream = TwoInFlight(Ask("a", 20));
  engine().Cancel(*stream);
  runner().Pass(1);
  const Outcome outcome = EndedWithOneInFlight(*stream);
  EXPECT_EQ(outcome.finished.reason, FinishReason::kCancelled);
  EXPECT_EQ(outcome.text, "bc") << "the token that nobody had collected is told to nobody";
}

TEST_F(AheadOrdersTest, TooLate) {
  const auto stream = TwoInFlight(Ask("a", 20), milliseconds(1000));
  fake().time.Advance(milliseconds(1000));
  runner().Pass(1);
  const Outcome outcome = EndedWithOneInFlight(*stream);
  EXPECT_EQ(outcome.finished.reason, FinishReason::kDeadline);
  EXPECT_EQ(outcome.text, "bc");
}

TEST_F(AheadOrdersTest, Drained) {
  const auto stream = TwoInFlight(Ask("a", 400));  // more than its stream holds
  const auto deadline = fake().time.Now() + milliseconds(100);
  auto drained = std::async(std::launch::async, [&] { return engine().Drain(milliseconds(100)); });
  fake().time.AwaitWaiter(deadline);
  EXPECT_TRUE(AnswerTo(engine(), Ask("x", 1)).finished.refused);
  fake().time.Advance(milliseconds(100));
  runner().Resume();
  EXPECT_FALSE(drained.get());
  const Outcome outcome = Collect(*stream);
  EXPECT_EQ(outcome.finished.reason, FinishReason::kUnavailable);
  std::string alphabets;
  while (alphabets.size() < 400) alphabets += "bcdefghijklmnopqrstuvwxyza";
  EXPECT_EQ(outcome.text, alphabets.substr(0, outcome.text.size()));
  EXPECT_EQ(outcome.finished.usage.completion_tokens, std::ssize(outcome.ids));
}

TEST_F(AheadOrdersTest, DrainedInTime) {
  const auto stream = TwoInFlight(Ask("a", 6));
  const auto deadline = fake().time.Now() + milliseconds(100);
  auto drained = std::async(std::launch::async, [&] { return engine().Drain(milliseconds(100)); });
  fake().time.AwaitWaiter(deadline);
  runner().Resume();
  EXPECT_TRUE(drained.get());
  EXPECT_EQ(Collect(*stream).text, "bcdefg");
}

TEST_F(AheadOrdersTest, TheEngineGoesAway) {
  runner().Hold();
  std::vector<std::shared_ptr<EventStream>> streams;
  for (int i = 0; i < 5; ++i) streams.push_back(Start(engine(), Ask("a", 400)));
  AwaitPrepared(engine());
  runner().AwaitHeld();
  runner().Pass(3);
  auto gone = std::async(std::launch::async, [&] { fake().engine.reset(); });
  runner().Resume();
  gone.get();
  for (const auto& stream : streams) {
    const Outcome outcome = Collect(*stream);
    EXPECT_EQ(outcome.finished.reason, FinishReason::kUnavailable);
    EXPECT_EQ(outcome.text, std::string("bcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz")
                                .substr(0, outcome.text.size()));
  }
}

TEST_F(AheadOrdersTest, AStopStringAppears) {
  GenerateParams params = Ask("a", 20);
  params.stopping.stop = {"c"};
  const auto stream = TwoInFlight(params);
  runner().Pass(1);
  const Outcome outcome = EndedWithOneInFlight(*stream);
  EXPECT_EQ(outcome.finished.reason, FinishReason::kStop);
  EXPECT_EQ(outcome.text, "b");
  EXPECT_EQ(outcome.finished.usage.completion_tokens, 2);
}

TEST_F(AheadOrdersTest, AStopTokenIsDrawn) {
  GenerateParams params = Ask("a", 20);
  params.stopping.stop_token_ids = {'c'};
  const auto stream = TwoInFlight(params);
  runner().Pass(1);
  const Outcome outcome = EndedWithOneInFlight(*stream);
  EXPECT_EQ(outcome.finished.reason, FinishReason::kStop);
  EXPECT_EQ(outcome.text, "b");
}

TEST_F(AheadOrdersTest, TheTextEnds) {
  runner_options_.logits = [](std::span<const TokenId> text) {
    std::vector<float> logits = AlphabetLogits(text);
    if (text.back() == 'b') logits['.'] = 20;
    if (text.back() == 'b' || text.back() == '.') logits['c'] = logits['a'] = 0;
    return logits;
  };
  const auto stream = TwoInFlight(Ask("a", 20));
  runner().Pass(1);  // '.', and behind it the end is in flight, and behind that nothing that counts
  runner().Pass(1);
  EXPECT_TRUE(stream->ended());
  EXPECT_EQ(runner().submitted(), 4);
  EXPECT_GT(engine().Stats().blocks_used, 0);
  runner().Resume();
  const Outcome outcome = Collect(*stream);
  EXPECT_EQ(outcome.finished.reason, FinishReason::kEos);
  EXPECT_EQ(outcome.text, "b.");
  ExpectAllFree(engine());
}

// The steps in flight make its last tokens: there is nothing to be begun behind them.
TEST_F(AheadOrdersTest, TheLastTokenIsInFlight) {
  const auto stream = TwoInFlight(Ask("a", 3));
  runner().Pass(1);
  EXPECT_FALSE(stream->ended());
  EXPECT_EQ(runner().submitted(), 3);
  runner().Resume();
  EXPECT_EQ(Collect(*stream).text, "bcd");
  ExpectAllFree(engine());
  for (const Batch& batch : runner().batches()) {
    for (const BatchRow& row : batch.rows) EXPECT_LE(row.length + row.n_new, 3) << "a token too many";
  }
}

// What comes while steps are in flight takes part in the next one that is made.
TEST_F(AheadOrdersTest, AnotherRequestComes) {
  const auto stream = TwoInFlight(Ask("a", 10));
  const auto other = Start(engine(), Ask("m", 5));
  AwaitPrepared(engine());
  runner().Pass(1);
  ASSERT_EQ(runner().submitted(), 4);
  EXPECT_EQ(runner().batches()[3].groups.size(), 2u);
  runner().Pass(1);  // step 3 completes a prompt, so it is collected before another is made
  EXPECT_EQ(runner().submitted(), 4);
  runner().Pass(1);
  EXPECT_EQ(runner().submitted(), 6);
  runner().Resume();
  EXPECT_EQ(Collect(*stream).text, "bcdefghijk");
  EXPECT_EQ(Collect(*other).text, "nopqr");
  ExpectAllFree(engine());
}

// The pieces of a prompt follow one another, its last one is collected before its first token is put back in.
TEST_F(AheadOrdersTest, APromptIsReadInPieces) {
  options_.step_target = std::chrono::hours(1);
  runner().Hold();
  const auto stream = Start(engine(), Ask(std::string(150, 'x') + "a", 3));
  runner().AwaitHeld();
  EXPECT_EQ(runner().submitted(), 2);
  runner().Pass(1);
  EXPECT_EQ(runner().submitted(), 3);
  runner().Pass(1);
  EXPECT_EQ(runner().submitted(), 3) << "the last piece";
  runner().Pass(1);
  EXPECT_EQ(runner().submitted(), 5);
  runner().Resume();
  EXPECT_EQ(Collect(*stream).text, "bcd");
}

// It is cancelled while two pieces of its prompt are in flight, and its blocks are nobody's before both are done.
TEST_F(AheadOrdersTest, APromptIsGivenUp) {
  options_.step_target = std::chrono::hours(1);
  runner_options_.geometry.n_blocks = 50;
  runner().Hold();
  const auto stream = Start(engine(), Ask(std::string(180, 'x'), 3));
  runner().AwaitHeld();
  EXPECT_EQ(runner().submitted(), 2);
  const auto other = Start(engine(), Ask(std::string(180, 'y') + "a", 3));  // needs its blocks
  AwaitPrepared(engine());
  engine().Cancel(*stream);
  runner().Pass(1);
  EXPECT_TRUE(stream->ended());
  EXPECT_EQ(runner().submitted(), 2);
  EXPECT_EQ(engine().Stats().blocks_used, 45);
  runner().Resume();
  EXPECT_EQ(Collect(*other).text, "bcd");
  EXPECT_EQ(Collect(*stream).finished.reason, FinishReason::kCancelled);
  ExpectAllFree(engine());
}

// The others begin behind the prompt's last piece, and read its last token themselves.
TEST_F(AheadOrdersTest, FurtherSamplesBegin) {
  GenerateParams params = Ask("a", 4);
  params.samples = 3;
  runner().Hold();
  const auto stream = Start(engine(), params);
  runner().AwaitHeld();
  EXPECT_EQ(runner().submitted(), 1);
  runner().Pass(1);
  EXPECT_EQ(runner().submitted(), 2) << "it completes the prompts of the others";
  runner().Pass(1);
  EXPECT_EQ(runner().submitted(), 4);
  runner().Resume();
  EXPECT_EQ(Collect(*stream).text, "bcdebcdebcde");
  ExpectAllFree(engine());
}

// The last of several answers ends while a step is in flight that holds another one's group.
TEST_F(AheadOrdersTest, TheLastSampleEnds) {
  std::vector<std::string> texts;
  for (const bool ahead : {false, true}) {
    runner_options_.one_step_ahead = ahead;
    FakeEngine own(options_, runner_options_);
    for (uint64_t seed = 0; seed < 30; ++seed) {
      GenerateParams params = Ask("a", 12);
      params.samples = 3;
      params.seed = seed;
      params.sampling.temperature = 4;
      params.stopping.stop_token_ids = {'c', 'd', 'e', 'f', 'g'};
      const Outcome outcome = AnswerTo(*own.engine, params);
      EXPECT_TRUE(outcome.finished.status.ok()) << outcome.finished.status;
      texts.push_back(outcome.text);
    }
    ExpectAllFree(*own.engine);
  }
  for (size_t i = 0; i < 30; ++i) EXPECT_EQ(texts[i], texts[30 + i]);
}

// Nobody is preempted while a step in flight may write to the victim's blocks.
TEST_F(AheadOrdersTest, BlocksRunOut) {
  runner_options_.geometry.n_blocks = 12;
  runner().Hold();
  const auto first = Start(engine(), Ask("a", 30)), second = Start(engine(), Ask("m", 30));
  AwaitPrepared(engine());
  runner().AwaitHeld();
  runner().Resume();
  EXPECT_EQ(Collect(*first).text, "bcdefghijklmnopqrstuvwxyzabcde");
  EXPECT_EQ(Collect(*second).text, "nopqrstuvwxyzabcdefghijklmnopq");
  EXPECT_GT(engine().telemetry().preemptions.value(), 0);
  EXPECT_EQ(runner().max_in_flight(), 2);
  ExpectAllFree(engine());
}

// A reader without room for the events of a step more than those in flight holds its request back, and no other.
TEST_F(AheadOrdersTest, AStreamHoldsNoMoreThanItsCapacity) {
  for (const size_t capacity : {4, 5, 8, 9, 12, 13, 20}) {
    for (const int64_t samples : {1, 2, 5}) {
      options_.events_per_stream = capacity;
      FakeEngine own(options_, runner_options_);
      GenerateParams params = Ask("a", 40);
      params.samples = samples;
      const auto stream = Start(*own.engine, params);
      const size_t events_per_step = 2 + 2 * static_cast<size_t>(samples);
      const size_t bound = std::max(capacity * static_cast<size_t>(samples), events_per_step);
      std::string text;
      for (bool ended = false; !ended;) {
        StatsAtRest(*own.engine);
        ASSERT_LE(stream->unread(), bound) << "capacity " << capacity << ", samples " << samples;
        size_t n_unread = 0;
        for (std::optional<Event> event; (event = stream->TryNext()).has_value(); ++n_unread) {
          if (const auto* chunk = std::get_if<Chunk>(&*event)) text += chunk->sample == 0 ? chunk->text : "";
          ended = ended || std::holds_alternative<Finished>(*event);
          // So that there is room for some steps and not for others.
          if (n_unread + 1 == 3) break;
        }
        ASSERT_GT(n_unread, 0u);
      }
      EXPECT_EQ(text, "bcdefghijklmnopqrstuvwxyzabcdefghijklmno");
    }
  }
}

}  // namespace
}  // namespace longhaul
