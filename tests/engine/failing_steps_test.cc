// A step that fails ends the requests that it works on, and a device that is lost ends all.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <latch>
#include <memory>
#include <string>
#include <vector>

#include "engine/base/log.h"
#include "tests/engine/fake_engine_fixture.h"

namespace longhaul {
namespace {

using ::testing::HasSubstr;

// Where a step fails.
enum class Place { kSubmit, kCollect };

class FailingStepsTest : public FakeEngineTest {
 protected:
  FailingStepsTest() { EXPECT_TRUE(SetLogLevel("off").ok()); }

  // The next step that is made fails.
  void FailNext(Place place, const absl::Status& status) {
    const int64_t step = runner().submitted();
    place == Place::kSubmit ? runner().FailSubmit(step, status) : runner().FailCollect(step, status);
  }
  // A request whose reader takes nothing and that therefore is in no step.
  std::shared_ptr<EventStream> Resting() {
    auto stream = Submit(Ask("a", 100));
    StatsAtRest(engine());
    return stream;
  }
  static void ExpectEndedBy(const Outcome& outcome, absl::StatusCode code, const std::string& message) {
    const bool is_lost = code == absl::StatusCode::kUnavailable && !outcome.finished.refused;
    EXPECT_EQ(outcome.finished.reason, is_lost ? FinishReason::kUnavailable : FinishReason::kError);
    EXPECT_EQ(outcome.finished.status.code(), code) << outcome.finished.status;
    EXPECT_THAT(std::string(outcome.finished.status.message()), HasSubstr(message));
  }
};
INSTANTIATE_TEST_SUITE_P(, FailingStepsTest, ::testing::Bool(), StepsName);

// What a step's status becomes.
struct Failure {
  absl::Status status;
  absl::StatusCode told;
};
std::vector<Failure> Failures() {
  return {{absl::InternalError("the kernel fell over"), absl::StatusCode::kInternal},
          {absl::InvalidArgumentError("the kernel fell over"), absl::StatusCode::kInternal},
          {absl::ResourceExhaustedError("the kernel fell over"), absl::StatusCode::kResourceExhausted}};
}

TEST_P(FailingStepsTest, EndTheirRequestsAndNoOthers) {
  for (const Failure& failure : Failures()) {
    for (const Place place : {Place::kSubmit, Place::kCollect}) {
      const auto resting = Resting();
      FailNext(place, failure.status);
      const Outcome outcome = Answer(Ask("k", 3));
      ExpectEndedBy(outcome, failure.told, "the kernel fell over");
      EXPECT_FALSE(outcome.finished.refused);
      EXPECT_EQ(outcome.text, "");
      EXPECT_EQ(Answer(Ask("k", 3)).text, "lmn");
      const Outcome rested = Collect(*resting);
      EXPECT_TRUE(rested.finished.status.ok()) << rested.finished.status;
      EXPECT_EQ(rested.text.size(), 100u);
      EXPECT_EQ(rested.text.substr(0, 28), "bcdefghijklmnopqrstuvwxyzabc");
      ExpectAllFree(engine());
    }
  }
}

TEST_P(FailingStepsTest, EndAllThatTheyWorkOn) {
  const auto resting = Resting();
  for (const Place place : {Place::kSubmit, Place::kCollect}) {
    runner().Hold();
    std::vector<std::shared_ptr<EventStream>> streams;
    streams.push_back(Submit(Ask("a", 50)));
    runner().AwaitHeld();
    // They wait for the step that is held, and then take part in the next one.
    streams.push_back(Submit(Ask("m", 50)));
    ScoreParams score;
    score.prompt = TextPrompt{"abcdefgh"};
    streams.push_back(Submit(score));
    GenerateParams samples = Ask("sample", 50);
    samples.samples = 3;
    streams.push_back(Submit(samples));
    AwaitPrepared(engine());
    FailNext(place, absl::InternalError("the kernel fell over"));
    runner().Resume();
    for (size_t i = 0; i < streams.size(); ++i) {
      const Outcome outcome = Collect(*streams[i]);
      ExpectEndedBy(outcome, absl::StatusCode::kInternal, "the kernel fell over");
      EXPECT_EQ(outcome.text, i == 0 ? "b" : "");
    }
    EXPECT_EQ(Answer(Ask("k", 3)).text, "lmn");
  }
  EXPECT_EQ(Collect(*resting).text.size(), 100u);
  ExpectAllFree(engine());
}

// In the middle of an answer, and of a prompt of several steps.
TEST_P(FailingStepsTest, TellWhatWasMadeBeforeThem) {
  for (const Place place : {Place::kSubmit, Place::kCollect}) {
    for (int64_t step = 0; step < 12; ++step) {
      FakeEngine own(options_, runner_options_);
      place == Place::kSubmit ? own.runner->FailSubmit(step, absl::InternalError("no"))
                              : own.runner->FailCollect(step, absl::InternalError("no"));
      const auto stream = Start(*own.engine, Ask(std::string(150, 'x') + "a", 20));  // three steps for the prompt
      const Outcome outcome = Collect(*stream);
      ExpectEndedBy(outcome, absl::StatusCode::kInternal, "no");
      // A step that is not taken ends the request at once, before the one in flight has been collected.
      const int64_t collected = place == Place::kSubmit && ahead() && step > 3 ? step - 1 : step;
      EXPECT_EQ(outcome.text,
                std::string("bcdefghijklm").substr(0, static_cast<size_t>(std::max<int64_t>(0, collected - 2))))
          << step;
      EXPECT_EQ(outcome.finished.usage.completion_tokens, std::ssize(outcome.ids));
      EXPECT_EQ(AnswerTo(*own.engine, Ask(std::string(150, 'x') + "a", 3)).text, "bcd") << "whatever was cached";
      ExpectAllFree(*own.engine);
    }
  }
}

TEST_P(FailingStepsTest, ALostDeviceEndsEverythingAndRefusesWhatComes) {
  for (const Place place : {Place::kSubmit, Place::kCollect}) {
    EngineOptions options;
    options.max_rows = 2;
    FakeEngine own(options, runner_options_);
    Engine& engine = *own.engine;
    std::vector<std::shared_ptr<EventStream>> streams;
    streams.push_back(Start(engine, Ask("a", 100)));
    StatsAtRest(engine);
    own.runner->Hold();
    streams.push_back(Start(engine, Ask("m", 50)));
    own.runner->AwaitHeld();
    for (int i = 0; i < 3; ++i) streams.push_back(Start(engine, Ask("waits", 50)));
    AwaitPrepared(engine);
    const absl::Status lost = absl::UnavailableError("the device is gone");
    place == Place::kSubmit ? own.runner->FailSubmit(own.runner->submitted(), lost)
                            : own.runner->FailCollect(own.runner->submitted() - 1, lost);
    own.runner->Resume();
    for (const auto& stream : streams) {
      const Outcome outcome = Collect(*stream);
      ExpectEndedBy(outcome, absl::StatusCode::kUnavailable, "the device is gone");
      EXPECT_FALSE(outcome.finished.refused);
    }
    for (int i = 0; i < 3; ++i) {
      const Outcome refused = AnswerTo(engine, Ask("later", 5));
      ExpectEndedBy(refused, absl::StatusCode::kUnavailable, "the device is gone");
      EXPECT_TRUE(refused.finished.refused);
    }
    EXPECT_TRUE(engine.ListRequests().empty());
    EXPECT_EQ(engine.Stats().waiting, 0);
    EXPECT_EQ(engine.Stats().waiting_tokens, 0);
    EXPECT_TRUE(engine.Drain(std::chrono::minutes(1)));
  }
}

// It was accepted before, and arrives when nothing can be done any more.
TEST_P(FailingStepsTest, WhatIsBeingTokenizedWhenTheDeviceIsLostEndsToo) {
  const auto hold = std::make_shared<std::latch>(1);
  runner().Hold();
  const auto running = Submit(Ask("a", 10));
  runner().AwaitHeld();
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(engine().RunOnTextPool([hold] { hold->wait(); }).ok());
  const auto late = Submit(Ask("b", 10));
  runner().FailCollect(0, absl::UnavailableError("the device is gone"));
  runner().Resume();
  ExpectEndedBy(Collect(*running), absl::StatusCode::kUnavailable, "the device is gone");
  hold->count_down();
  ExpectEndedBy(Collect(*late), absl::StatusCode::kUnavailable, "the device is gone");
  EXPECT_TRUE(engine().Drain(std::chrono::minutes(1)));
}

// --- Where the step after the one that fails is in flight already ---

class FailingAheadTest : public ::testing::Test {
 protected:
  FakeEngine fake_{{}, [] {
                     FakeRunner::Options options;
                     options.one_step_ahead = true;
                     return options;
                   }()};
};

// `first` has two steps in flight, of which the second also reads the prompt of `second`.
TEST_F(FailingAheadTest, WhoIsInTheLaterStepAloneGoesOn) {
  FakeRunner& runner = *fake_.runner;
  runner.Hold();
  const auto first = Start(*fake_.engine, Ask("a", 30));
  runner.AwaitHeld();
  runner.Pass(1);  // steps 1 and 2 are in flight, and it stands before 1
  const auto second = Start(*fake_.engine, Ask("other text m", 10));
  AwaitPrepared(*fake_.engine);
  runner.Pass(1);  // 2 and 3
  ASSERT_EQ(runner.batches().size(), 4u);
  ASSERT_EQ(runner.batches()[2].groups.size(), 1u);
  ASSERT_EQ(runner.batches()[3].groups.size(), 2u);
  runner.FailCollect(2, absl::InternalError("no"));
  runner.Pass(1);  // 3 is in flight, with what is void
  EXPECT_GT(fake_.engine->Stats().blocks_used, 3) << "those of the one that ended are still written to";
  runner.Resume();
  const Outcome failed = Collect(*first);
  EXPECT_EQ(failed.finished.status.code(), absl::StatusCode::kInternal);
  EXPECT_EQ(failed.text, "bc");
  EXPECT_EQ(Collect(*second).text, "nopqrstuvw");
  ExpectAllFree(*fake_.engine);
}

TEST_F(FailingAheadTest, WhoIsInTheEarlierStepAloneIsWhole) {
  FakeRunner& runner = *fake_.runner;
  runner.Hold();
  const auto first = Start(*fake_.engine, Ask("a", 3));
  runner.AwaitHeld();
  runner.Pass(1);  // steps 1 and 2, the last of `first`, are in flight
  const auto second = Start(*fake_.engine, Ask("other text m", 10));
  AwaitPrepared(*fake_.engine);
  runner.Pass(1);  // 2, and 3 with the prompt of `second`
  ASSERT_EQ(runner.batches().size(), 4u);
  ASSERT_EQ(runner.batches()[3].groups.size(), 1u);
  runner.FailCollect(3, absl::InternalError("no"));
  runner.Resume();
  EXPECT_EQ(Collect(*first).text, "bcd");
  EXPECT_EQ(Collect(*second).finished.status.code(), absl::StatusCode::kInternal);
  ExpectAllFree(*fake_.engine);
}

// The first step was taken, the second is not.
TEST_F(FailingAheadTest, AStepThatIsNotTakenVoidsNothingOfTheOneBefore) {
  FakeRunner& runner = *fake_.runner;
  runner.Hold();
  const auto first = Start(*fake_.engine, Ask("a", 3));
  runner.AwaitHeld();
  const auto second = Start(*fake_.engine, Ask("other text m", 10));
  AwaitPrepared(*fake_.engine);
  runner.Pass(1);  // step 1 has both; `second` completes its prompt, so that no step is made behind it
  ASSERT_EQ(runner.submitted(), 2);
  runner.FailSubmit(3, absl::ResourceExhaustedError("no"));
  runner.Resume();  // 2 is taken, 3, of `second` alone, is not
  EXPECT_EQ(Collect(*first).text, "bcd");
  const Outcome ended = Collect(*second);
  EXPECT_EQ(ended.finished.status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ended.text, "n");
  EXPECT_EQ(AnswerTo(*fake_.engine, Ask("other text m", 10)).text, "nopqrstuvw");
  ExpectAllFree(*fake_.engine);
}

}  // namespace
}  // namespace longhaul
