// What the default model says through the engine's front door.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/engine/engine_fixture.h"

namespace longhaul {
namespace {

using ::testing::HasSubstr;

class DefaultModelTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { engine_ = MakeEngine(); }
  static void TearDownTestSuite() { engine_.reset(); }

  static std::unique_ptr<Engine> engine_;
};
std::unique_ptr<Engine> DefaultModelTest::engine_;

TEST_F(DefaultModelTest, KnowsACapital) {
  const Outcome outcome = AnswerTo(*engine_, Ask("The capital of France is", 8));
  EXPECT_THAT(outcome.text, HasSubstr("Paris"));
  EXPECT_EQ(outcome.finished.reason, FinishReason::kLength);
  EXPECT_TRUE(outcome.finished.status.ok());
  EXPECT_EQ(outcome.finished.usage.prompt_tokens, 5);
  EXPECT_EQ(outcome.finished.usage.completion_tokens, 8);
  EXPECT_EQ(outcome.ids.size(), 8u);
  EXPECT_EQ(outcome.logprobs.size(), 8u);
  EXPECT_GT(outcome.finished.timings.first_token, 0);
  EXPECT_EQ(outcome.started.reach, 8192);
  EXPECT_EQ(*engine_->Detokenize(outcome.ids, false, outcome.text.size()), outcome.text);
}

TEST_F(DefaultModelTest, AChatEndsWithTheTurn) {
  GenerateParams params = Ask("", 100);
  params.prompt = ChatPrompt{{{"user", "Say hello in one short sentence."}}};
  const Outcome outcome = AnswerTo(*engine_, params);
  EXPECT_EQ(outcome.finished.reason, FinishReason::kEos);
  EXPECT_THAT(outcome.text, Not(HasSubstr("<|im_end|>")));
  EXPECT_FALSE(outcome.text.empty());
}

TEST_F(DefaultModelTest, AStopStringEndsTheAnswerBeforeItself) {
  GenerateParams params = Ask("One, two, three, four,", 40);
  const std::string whole = AnswerTo(*engine_, params).text;
  ASSERT_GT(whole.size(), 12u);
  params.stopping.stop = {"never in there", whole.substr(7, 5)};
  const Outcome outcome = AnswerTo(*engine_, params);
  EXPECT_EQ(outcome.finished.reason, FinishReason::kStop);
  EXPECT_EQ(outcome.text, whole.substr(0, whole.find(whole.substr(7, 5))));
}

}  // namespace
}  // namespace longhaul
