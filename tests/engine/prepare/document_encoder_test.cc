#include "engine/prepare/document_encoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/model/checkpoint.h"
#include "engine/model/vocabulary_reader.h"
#include "engine/text/text_windows.h"
#include "tests/support/test_model.h"

namespace longhaul {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using Ids = std::vector<TokenId>;

constexpr int64_t kTrained = 8192, kMaxRows = 6;

// On the default model, whose family is ChatML, or on its tokenizer with another template.
class DocumentEncoderTest : public ::testing::Test {
 protected:
  void SetUp() override { UseVocabulary(TestVocabulary()); }

  static const Vocabulary& TestVocabulary() {
    static const Vocabulary vocabulary = *ReadVocabulary(**OpenCheckpoint(TestModelPath()));
    return vocabulary;
  }
  void UseVocabulary(Vocabulary vocabulary) {
    prompts_ = *PromptEncoder::Create(std::move(vocabulary), "");
    encoder_ = std::make_unique<DocumentEncoder>(*prompts_, kTrained, kMaxRows);
  }

  ContextRows Encode(const Contexts& contexts, const Prompt& question) {
    auto rows = encoder_->Encode(contexts, question);
    EXPECT_TRUE(rows.ok()) << rows.status();
    return rows.ok() ? *std::move(rows) : ContextRows();
  }
  std::string Refusal(const Contexts& contexts, const Prompt& question) {
    const absl::Status status = encoder_->Encode(contexts, question).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    return std::string(status.message());
  }
  Ids Tokens(const std::string& text) { return *prompts_->tokenizer().Encode(text); }
  std::string Text(const Ids& ids) { return prompts_->tokenizer().Detokenize(ids, /*special=*/true); }

  std::unique_ptr<PromptEncoder> prompts_;
  std::unique_ptr<DocumentEncoder> encoder_;
};

Contexts Texts(const std::vector<std::string>& texts, const std::string& document_template = "") {
  Contexts contexts;
  std::vector<Document> documents;
  for (const std::string& text : texts) documents.push_back({absl::StrCat("doc-", documents.size()), text});
  contexts.source = documents;
  contexts.document_template = document_template;
  return contexts;
}

Contexts Long(const std::string& text, int64_t window, std::optional<int64_t> overlap) {
  Contexts contexts;
  contexts.source = LongDocument{text, window, overlap};
  return contexts;
}

const Prompt kQuestion = TextPrompt{"When did it open?"};

Ids operator+(Ids a, const Ids& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

TEST_F(DocumentEncoderTest, RowsAreTheModelsTemplateAroundEachDocument) {
  const ContextRows rows = Encode(Texts({"The bridge opened in 1894.", "Tea is grown there."}), kQuestion);
  ASSERT_EQ(rows.rows.size(), 3u);
  const std::string system =
      "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
      "<|im_start|>user\n";
  const std::string after = "\n\nWhen did it open?<|im_end|>\n<|im_start|>assistant\n";
  EXPECT_EQ(Text(rows.rows[0]), system + after);
  EXPECT_EQ(Text(rows.rows[1]), system + "The bridge opened in 1894." + after);
  EXPECT_EQ(Text(rows.rows[2]), system + "Tea is grown there." + after);
  EXPECT_EQ(std::count(rows.rows[1].begin(), rows.rows[1].end(), 1), 3) << "marks are special tokens";
  EXPECT_TRUE(rows.windows.empty());
  const auto document = rows.rows[2].size() - Tokens("Tea is grown there.").size();
  EXPECT_EQ(document, rows.rows[0].size());
  const Ids behind(rows.rows[1].end() - rows.tokens_after_document, rows.rows[1].end());
  EXPECT_EQ(Text(behind), after);
}

TEST_F(DocumentEncoderTest, ADocumentsTokensDependOnNothingBesideIt) {
  // Pieces that would merge across each border.
  const std::string shape = "<|im_start|>Read:{document} {question}!";
  const Ids before = Encode(Texts({"x"}, shape), kQuestion).rows[1];
  const Ids head(before.begin(), before.begin() + 3);
  EXPECT_EQ(Text(head), "<|im_start|>Read:");
  const Ids first = Encode(Texts({" a doc\n"}, shape), TextPrompt{"\nWhy"}).rows[1];
  EXPECT_EQ(first, head + Tokens(" a doc\n") + Tokens(" ") + Tokens("\nWhy") + Tokens("!"));
  const Ids second = Encode(Texts({"other", " a doc\n"}, shape), TextPrompt{"ument?"}).rows[2];
  EXPECT_EQ(second, head + Tokens(" a doc\n") + Tokens(" ") + Tokens("ument?") + Tokens("!"));
}

TEST_F(DocumentEncoderTest, MarksInADocumentOrAQuestionStayText) {
  const ContextRows rows = Encode(Texts({"<|im_end|>{question}"}), TextPrompt{"<|im_start|>{document}"});
  EXPECT_EQ(std::count(rows.rows[1].begin(), rows.rows[1].end(), 1), 3);
  EXPECT_EQ(std::count(rows.rows[1].begin(), rows.rows[1].end(), 2), 2);
  EXPECT_THAT(Text(rows.rows[1]), HasSubstr("<|im_end|>{question}\n\n<|im_start|>{document}<|im_end|>"));
}

TEST_F(DocumentEncoderTest, AChatGivesTheQuestionAndTheSystemMessage) {
  const Prompt chat = ChatPrompt{{{"system", "Be brief."}, {"user", "When did it open?"}}};
  const Contexts contexts = Texts({"The bridge opened in 1894."});
  EXPECT_EQ(Text(Encode(contexts, chat).rows[1]),
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nThe bridge opened in 1894.\n\n"
            "When did it open?<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(Encode(contexts, ChatPrompt{{{"user", "When did it open?"}}}).rows, Encode(contexts, kQuestion).rows);
}

TEST_F(DocumentEncoderTest, ReadyIdsAreTakenExactly) {
  Contexts contexts;
  contexts.source = std::vector<Document>{{"a", Ids{5, 6, 7}}, {"b", Ids{9}}, {"c", "text"}};
  contexts.document_template = "{document}{question}";
  const ContextRows rows = Encode(contexts, TokenPrompt{{1, 2}});
  EXPECT_EQ(rows.rows, (std::vector<Ids>{{1, 2}, {5, 6, 7, 1, 2}, {9, 1, 2}, Tokens("text") + Ids{1, 2}}));
  EXPECT_EQ(rows.tokens_after_document, 2);
  contexts.source = std::vector<Document>{{"a", Ids{5, 49152}}};
  EXPECT_THAT(Refusal(contexts, TokenPrompt{{1}}), HasSubstr("contexts.documents[0].token_ids.ids[1]"));
  contexts.source = std::vector<Document>{{"a", Ids{5}}};
  EXPECT_THAT(Refusal(contexts, TokenPrompt{{1, -1}}), HasSubstr("prompt.token_ids.ids[1]"));
  EXPECT_THAT(Refusal(contexts, ChatPrompt{{{"user", ""}}}), HasSubstr("contexts.baseline"));
}

TEST_F(DocumentEncoderTest, ABosStandsWhereTheModelWantsOneOnce) {
  Vocabulary vocabulary = TestVocabulary();
  vocabulary.add_bos = true;
  vocabulary.bos = 1;
  vocabulary.chat_template = "";
  UseVocabulary(vocabulary);
  EXPECT_EQ(Text(Encode(Texts({"Doc."}), kQuestion).rows[1]), "<|im_start|>Doc.\n\nWhen did it open?\n");
  EXPECT_EQ(Text(Encode(Texts({"Doc."}, "{document} {question}"), kQuestion).rows[0]),
            "<|im_start|> When did it open?");
  EXPECT_EQ(Text(Encode(Texts({"Doc."}, "<|im_start|>{document} {question}"), kQuestion).rows[0]),
            "<|im_start|> When did it open?");
  EXPECT_EQ(Encode(Texts({"Doc."}, "{document}{question}"), TokenPrompt{{7}}).rows[0], Ids{7});
}

TEST_F(DocumentEncoderTest, WithoutAChatTemplateASystemMessageHasNoPlace) {
  Vocabulary vocabulary = TestVocabulary();
  vocabulary.chat_template = "";
  UseVocabulary(vocabulary);
  EXPECT_EQ(Text(Encode(Texts({"Doc."}), kQuestion).rows[1]), "Doc.\n\nWhen did it open?\n");
  EXPECT_EQ(Encode(Texts({"Doc."}), ChatPrompt{{{"user", "Hi"}}}).rows, Encode(Texts({"Doc."}), TextPrompt{"Hi"}).rows);
  const absl::Status status = encoder_->Encode(Texts({"Doc."}), ChatPrompt{{{"system", "a"}, {"user", "Hi"}}}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("--chat-template"));
}

TEST_F(DocumentEncoderTest, ABaselineReplacesTheRowWithoutADocument) {
  Contexts contexts = Texts({"Doc."});
  const ContextRows plain = Encode(contexts, kQuestion);
  contexts.baseline = TextPrompt{"Question: when did it open?"};
  EXPECT_EQ(Encode(contexts, kQuestion).rows, (std::vector<Ids>{Tokens("Question: when did it open?"), plain.rows[1]}));
  contexts.baseline = TokenPrompt{{3, 4}};
  EXPECT_EQ(Encode(contexts, kQuestion).rows[0], (Ids{3, 4}));
  contexts.baseline = TokenPrompt{{3, 99999}};
  EXPECT_THAT(Refusal(contexts, kQuestion), HasSubstr("contexts.baseline.token_ids.ids[1]"));
  contexts.baseline = TextPrompt{"a\xff"};
  EXPECT_THAT(Refusal(contexts, kQuestion), AllOf(HasSubstr("contexts.baseline.text"), HasSubstr("byte 1")));
}

TEST_F(DocumentEncoderTest, RefusesWhatIsNoText) {
  EXPECT_THAT(Refusal(Texts({"a", "\xc3("}), kQuestion), AllOf(HasSubstr("documents[1]: "), HasSubstr("byte 0")));
  EXPECT_THAT(Refusal(Texts({"a"}, "{document}"), kQuestion),
              HasSubstr("contexts.document_template: {question} is missing"));
  EXPECT_THAT(Refusal(Texts({"a"}), TextPrompt{"\xff"}), HasSubstr("prompt.text"));
}

TEST_F(DocumentEncoderTest, ALongDocumentIsReadInWindows) {
  std::string text;
  for (int i = 0; i < 40; ++i) text += absl::StrCat("Sentence ", i, " is about it. ");
  const ContextRows rows = Encode(Long(text, 100, 20), kQuestion);
  const Ids all = Tokens(text);
  ASSERT_EQ(rows.rows.size(), rows.windows.size() + 1);
  ASSERT_GT(rows.windows.size(), 2u);
  int64_t covered = 0;
  for (size_t i = 0; i < rows.windows.size(); ++i) {
    const TextRange& window = rows.windows[i];
    const std::string part = text.substr(static_cast<size_t>(window.first_byte), static_cast<size_t>(window.bytes));
    EXPECT_THAT(Text(rows.rows[i + 1]), HasSubstr("user\n" + part + "\n\nWhen"));
    EXPECT_LE(window.first_byte, covered);
    covered = window.first_byte + window.bytes;
  }
  EXPECT_EQ(covered, std::ssize(text));
  EXPECT_EQ(rows.rows[1].size(), rows.rows[0].size() + 100);
}

TEST_F(DocumentEncoderTest, WindowsHaveDefaultsOfTheTrainedLength) {
  std::string text;
  while (Tokens(text).size() < 9000) text += std::string(text.empty() ? "A word or two. " : text);
  const size_t n = Tokens(text).size();
  const ContextRows rows = Encode(Long(text, 0, {}), kQuestion);
  EXPECT_EQ(rows.rows[1].size() - rows.rows[0].size(), 4096u);
  EXPECT_EQ(rows.windows.size(), static_cast<size_t>(NumWindows(static_cast<int64_t>(n), 4096, 512)));
  EXPECT_EQ(Encode(Long("short", 0, {}), kQuestion).rows.size(), 2u);
}

TEST_F(DocumentEncoderTest, RefusesWindowsThatCannotBe) {
  EXPECT_THAT(Refusal(Long("some text", 10, 10), kQuestion),
              AllOf(HasSubstr("contexts.long_document.overlap_tokens: 10"), HasSubstr("10 tokens of a window")));
  EXPECT_THAT(Refusal(Long("some text", 0, 4096), kQuestion), HasSubstr("contexts.long_document.overlap_tokens"));
  EXPECT_THAT(Refusal(Long("a\xff", 10, 1), kQuestion), HasSubstr("contexts.long_document.text"));
  EXPECT_THAT(Refusal(Long(std::string(2000, 'x') + " y z", 1, 0), kQuestion),
              AllOf(HasSubstr("contexts.long_document: "), HasSubstr("windows of 1"), HasSubstr("6 rows")));
}

TEST_F(DocumentEncoderTest, WhatIsTooLongIsRefusedBeforeItIsTokenized) {
  const auto refusal = [&](const Contexts& contexts, const Prompt& question, int64_t most, int64_t together) {
    return std::string(encoder_->CheckLength(contexts, question, most, together, "the limit").message());
  };
  const std::string big(100000, 'x');  // of tokens that may be hundreds of bytes long
  const int64_t least = prompts_->MinTokens(std::string_view(big));
  ASSERT_GT(least, 100);
  EXPECT_TRUE(encoder_->CheckLength(Texts({"a", big}), kQuestion, least, least, "the limit").ok());
  EXPECT_THAT(refusal(Texts({"a", big}), kQuestion, least - 1, INT64_MAX),
              AllOf(HasSubstr("contexts.documents[1]: 'doc-1'"), HasSubstr("the limit")));
  EXPECT_THAT(refusal(Texts({big, big}), kQuestion, least, 2 * least - 1),
              AllOf(HasSubstr("contexts.documents: "), HasSubstr(absl::StrCat(2 * least))));
  // The question and the baseline count in each row.
  const Prompt question = TokenPrompt{Ids(50, 1)};
  EXPECT_THAT(refusal(Texts({big}), question, least + 49, INT64_MAX), HasSubstr("50 of the question"));
  EXPECT_EQ(refusal(Texts({big}), question, least + 50, least + 100), "");
  EXPECT_NE(refusal(Texts({big}), question, least + 50, least + 99), "");
  EXPECT_THAT(refusal(Texts({"a"}), question, 49, 1000), HasSubstr("prompt.token_ids"));
  EXPECT_THAT(refusal(Long(big, 10, 0), kQuestion, 100, least - 1), HasSubstr("contexts.long_document.text"));
  EXPECT_EQ(refusal(Long(big, 10, 0), kQuestion, 100, least), "");
  Contexts contexts = Texts({"a"});
  contexts.baseline = TokenPrompt{Ids(101, 1)};
  EXPECT_THAT(refusal(contexts, kQuestion, 100, 1000), HasSubstr("contexts.baseline.token_ids"));
}

TEST_F(DocumentEncoderTest, StopsSoonWhenNobodyWaits) {
  // In the midst of a long document.
  int asked = 0;
  const StopCondition third_time = [&] { return ++asked >= 3; };
  std::string text;
  for (int i = 0; i < 300000; ++i) text += "word ";
  EXPECT_EQ(encoder_->Encode(Long(text, 1000, 0), kQuestion, third_time).status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(asked, 3);
  // Between short ones, none of which is worth asking inside of it.
  asked = 0;
  EXPECT_EQ(encoder_->Encode(Texts({"a", "b", "c", "d", "e"}), kQuestion, third_time).status().code(),
            absl::StatusCode::kCancelled);
  EXPECT_EQ(asked, 3);
}

}  // namespace
}  // namespace longhaul
