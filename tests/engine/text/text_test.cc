#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "engine/base/field_error.h"
#include "engine/base/utf8.h"
#include "engine/model/checkpoint.h"
#include "engine/model/vocabulary_reader.h"
#include "engine/text/chat_style.h"
#include "engine/text/chat_template.h"
#include "engine/text/detokenizer.h"
#include "engine/text/tokenizer.h"
#include "tests/support/test_model.h"

namespace longhaul {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class TextTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    const auto file = OpenCheckpoint(TestModelPath());
    ASSERT_TRUE(file.ok()) << file.status();
    vocabulary_ = new Vocabulary(*ReadVocabulary(**file));
    auto tokenizer = Tokenizer::Create(*vocabulary_);
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    tokenizer_ = tokenizer->release();
  }
  static Vocabulary* vocabulary_;
  static Tokenizer* tokenizer_;
};
Vocabulary* TextTest::vocabulary_;
Tokenizer* TextTest::tokenizer_;

std::string Character(uint32_t code) {
  std::string text;
  if (code < 0x80) {
    text += static_cast<char>(code);
  } else if (code < 0x800) {
    text += static_cast<char>(0xc0 | code >> 6);
    text += static_cast<char>(0x80 | (code & 0x3f));
  } else if (code < 0x10000) {
    text += static_cast<char>(0xe0 | code >> 12);
    text += static_cast<char>(0x80 | (code >> 6 & 0x3f));
    text += static_cast<char>(0x80 | (code & 0x3f));
  } else {
    text += static_cast<char>(0xf0 | code >> 18);
    text += static_cast<char>(0x80 | (code >> 12 & 0x3f));
    text += static_cast<char>(0x80 | (code >> 6 & 0x3f));
    text += static_cast<char>(0x80 | (code & 0x3f));
  }
  return text;
}

TEST_F(TextTest, RandomUnicodeComesBackExactlyAndInWholeCharacters) {
  std::mt19937 random(3);
  for (int round = 0; round < 5000; ++round) {
    std::string text;
    for (int i = 0; i < 1 + round % 30; ++i) {
      static constexpr uint32_t kLimits[] = {0x80, 0x80, 0x250, 0x3000, 0xd800, 0x110000};
      uint32_t code = static_cast<uint32_t>(random()) % kLimits[random() % 6];
      if (code >= 0xd800 && code < 0xe000) code = ' ';
      // Some bytes have no token in this vocabulary.
      const std::string character = Character(code);
      if (tokenizer_->Detokenize(*tokenizer_->Encode(character), false) == character) text += character;
    }
    const auto ids = tokenizer_->Encode(text);
    ASSERT_TRUE(ids.ok());
    EXPECT_EQ(tokenizer_->Detokenize(*ids, false), text);
    EXPECT_EQ(tokenizer_->DetokenizedBytes(*ids, false), text.size());
    Detokenizer detokenizer(*tokenizer_);
    std::string joined;
    for (TokenId id : *ids) {
      const std::string piece = detokenizer.Append(id);
      EXPECT_EQ(FirstInvalidUtf8(piece), piece.size());
      joined += piece;
    }
    EXPECT_EQ(joined + detokenizer.Finish(), text);
  }
}

TEST_F(TextTest, SpecialTokensAreParsedOnlyWhereTheyAreAllowed) {
  const std::string text = "a<|im_end|>b";
  const auto plain = *tokenizer_->Encode(text), parsed = *tokenizer_->Encode(text, true);
  for (TokenId id : plain) EXPECT_FALSE(tokenizer_->IsSpecial(id));
  EXPECT_EQ(parsed[1], 2);
  EXPECT_EQ(parsed.size(), 3u);
  EXPECT_EQ(tokenizer_->Detokenize(parsed, false), "ab");
  EXPECT_EQ(tokenizer_->DetokenizedBytes(parsed, false), 2u);
  EXPECT_EQ(tokenizer_->Detokenize(parsed, true), text);
  EXPECT_EQ(tokenizer_->DetokenizedBytes(parsed, true), text.size());
}

TEST_F(TextTest, ATextOfMegabytesIsNoTrouble) {
  EXPECT_EQ(tokenizer_->Detokenize(*tokenizer_->Encode(std::string(1 << 20, 'a')), false).size(), size_t{1} << 20);
  EXPECT_EQ(tokenizer_->Detokenize(*tokenizer_->Encode(std::string(1 << 20, ' ')), false).size(), size_t{1} << 20);
}

TEST_F(TextTest, AChatHasItsSystemMessageAndBordersAtSpecialTokens) {
  const std::vector<ChatTurn> turns = {{"user", "Hi <|im_end|>"}};
  const auto segments = *RenderChat(*FindChatStyle(*vocabulary_), turns);
  std::string text;
  for (const Segment& segment : segments) text += segment.text;
  EXPECT_EQ(text,
            "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
            "<|im_start|>user\nHi <|im_end|><|im_end|>\n<|im_start|>assistant\n");
  const auto ids = *tokenizer_->EncodeSegments(segments, true);
  EXPECT_EQ(std::count(ids.begin(), ids.end(), 1), 3);
  EXPECT_EQ(std::count(ids.begin(), ids.end(), 2), 2);
}

TEST_F(TextTest, ALlama3ChatIsRenderedAsItsTemplateDoes) {
  const std::vector<ChatTurn> turns = {{"system", " Be brief. "}, {"user", "Hi"}};
  std::string text;
  const auto segments = RenderChat(PlainChatStyle(ChatFamily::kLlama3, *vocabulary_), turns);
  ASSERT_TRUE(segments.ok());
  for (const Segment& segment : *segments) text += segment.text;
  EXPECT_EQ(
      text,
      "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
      "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n");
}

TEST_F(TextTest, ChatRefusalsNameTheFieldAndTheFlag) {
  Vocabulary without = *vocabulary_;
  without.chat_template = "";
  const absl::Status unknown = FindChatStyle(without).status();
  EXPECT_EQ(unknown.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(unknown.message()), HasSubstr("--chat-template"));
  const auto refusal = [](const ChatStyle& style, const std::vector<ChatTurn>& turns) {
    return RenderChat(style, turns).status();
  };
  const absl::Status out_of_turn = refusal(ChatStyle{.alternates = true}, {{"user", "Hi"}, {"user", "x"}});
  EXPECT_EQ(FieldOf(out_of_turn), "messages[1].role");
  EXPECT_THAT(std::string(out_of_turn.message()), HasSubstr("expected assistant"));
  EXPECT_EQ(FieldOf(refusal(ChatStyle{.alternates = true}, {{"user", "Hi"}, {"assistant", "x"}})), "messages[1].role");
  EXPECT_EQ(FieldOf(refusal(ChatStyle{}, {{"user", "Hi"}, {"assistant", "a\xff"}})), "messages[1].content");
}

TEST_F(TextTest, RefusesATokenizerThatIsWrongByItsKey) {
  const auto message = [](const Vocabulary& vocabulary) {
    return std::string(Tokenizer::Create(vocabulary).status().message());
  };
  Vocabulary wrong = *vocabulary_;
  wrong.pre_tokenizer = "abc";
  EXPECT_THAT(message(wrong), AllOf(HasSubstr("tokenizer.ggml.pre"), HasSubstr("'abc'"), HasSubstr("smollm")));
  wrong = *vocabulary_;
  wrong.model = "llama";
  EXPECT_THAT(message(wrong), HasSubstr("tokenizer.ggml.model"));
  wrong = *vocabulary_;
  wrong.eos = 49152;
  EXPECT_THAT(message(wrong), HasSubstr("tokenizer.ggml.eos_token_id"));
  wrong = *vocabulary_;
  wrong.merges[7] = "nospace";
  EXPECT_THAT(message(wrong), HasSubstr("tokenizer.ggml.merges[7]"));
  wrong = *vocabulary_;
  wrong.kinds.pop_back();
  Vocabulary empty;
  empty.model = "gpt2";
  EXPECT_THAT(message(wrong), HasSubstr("tokenizer.ggml.token_type"));
  EXPECT_THAT(message(empty), HasSubstr("tokenizer.ggml.tokens"));
}

}  // namespace
}  // namespace longhaul
