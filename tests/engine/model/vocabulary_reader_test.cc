#include "engine/model/vocabulary_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/model/gguf/gguf.h"
#include "tests/engine/model/changed_model.h"
#include "tests/support/test_model.h"

namespace longhaul {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

absl::StatusOr<Vocabulary> VocabularyOf(const Change& change) {
  const std::vector<std::byte> bytes = ChangedModel(change);
  const auto file = ReadGguf(SourceOf(bytes, "m.gguf"));
  if (!file.ok()) return file.status();
  return ReadVocabulary(**file);
}

TEST(VocabularyTest, ReadsTheDefaultModel) {
  const auto file = OpenCheckpoint(TestModelPath());
  ASSERT_TRUE(file.ok()) << file.status();
  const auto vocabulary = ReadVocabulary(**file);
  ASSERT_TRUE(vocabulary.ok()) << vocabulary.status();
  EXPECT_EQ(vocabulary->model, "gpt2");
  EXPECT_EQ(vocabulary->pre_tokenizer, "smollm");
  EXPECT_EQ(vocabulary->tokens.size(), 49152u);
  EXPECT_EQ(vocabulary->kinds.at(1), TokenKind::kControl);
  EXPECT_EQ(vocabulary->merges.size(), 48900u);
  EXPECT_EQ(vocabulary->bos, 1);
  EXPECT_EQ(vocabulary->eos, 2);
  EXPECT_EQ(vocabulary->unknown, 0);
  EXPECT_FALSE(vocabulary->eot.has_value());
  EXPECT_FALSE(vocabulary->add_bos);
  EXPECT_THAT(vocabulary->chat_template, HasSubstr("<|im_start|>"));
}

TEST(VocabularyTest, ReadsDefaults) {
  const auto vocabulary = VocabularyOf([](GgufWriter& w) {
    w.RemoveKey("tokenizer.ggml.token_type");
    w.SetString("tokenizer.ggml.pre", "llama-bpe");
    w.SetUint32("tokenizer.ggml.bos_token_id", 0);
    w.SetInt32("tokenizer.ggml.eot_token_id", 3);
  });
  ASSERT_TRUE(vocabulary.ok()) << vocabulary.status();
  EXPECT_EQ(vocabulary->kinds.at(0), TokenKind::kNormal);
  EXPECT_EQ(vocabulary->kinds.size(), 64u);
  EXPECT_EQ(vocabulary->eot, 3);
  EXPECT_TRUE(vocabulary->add_bos);
  EXPECT_THAT(vocabulary->merges, ElementsAre("a b", "ab c"));
  EXPECT_EQ(vocabulary->chat_template, "");
}

TEST(VocabularyTest, RefusesByName) {
  const Refusal refusals[] = {
      {Without("tokenizer.ggml.model"), "'tokenizer.ggml.model' is missing"},
      {Without("tokenizer.ggml.tokens"), "'tokenizer.ggml.tokens' is missing"},
      {Without("tokenizer.ggml.merges"), "'tokenizer.ggml.merges' is missing"},
      {[](GgufWriter& w) { w.SetInt32s("tokenizer.ggml.tokens", {1}); }, "expected an array of strings"},
      {[](GgufWriter& w) { w.SetInt32s("tokenizer.ggml.token_type", {1}); },
       "holds 1 values, expected one per token, 64"},
      {[](GgufWriter& w) { w.SetInt32s("tokenizer.ggml.token_type", std::vector<int32_t>(64, 7)); },
       "holds 7 for token 0, expected 0 to 6"},
      {Uint("tokenizer.ggml.eos_token_id", 64), "'tokenizer.ggml.eos_token_id' holds 64, expected a token"},
      {[](GgufWriter& w) { w.SetInt32("tokenizer.ggml.bos_token_id", -1); }, "bos_token_id' holds -1"},
      {Uint("tokenizer.ggml.add_bos_token", 1), "'tokenizer.ggml.add_bos_token' holds an integer, expected a bool"},
  };
  for (const Refusal& refusal : refusals) {
    const auto vocabulary = VocabularyOf(refusal.change);
    ASSERT_FALSE(vocabulary.ok()) << refusal.message;
    EXPECT_THAT(Message(vocabulary.status()), HasSubstr(refusal.message));
  }
}

}  // namespace
}  // namespace longhaul
