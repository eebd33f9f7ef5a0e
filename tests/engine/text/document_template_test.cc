#include "engine/text/document_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "engine/text/chat_style.h"

namespace longhaul {
namespace {

using ::testing::HasSubstr;

std::string Text(const std::vector<Segment>& segments) {
  std::string text;
  for (const Segment& segment : segments) text += segment.text;
  return text;
}

std::string Rendered(const DocumentTemplate& shape, const std::string& document, const std::string& question) {
  return Text(shape.before) + document + Text(shape.between) + question + Text(shape.after);
}

std::string Default(const absl::StatusOr<ChatStyle>& style, std::optional<std::string_view> system = {}) {
  const auto shape = DefaultDocumentTemplate(style, system);
  EXPECT_TRUE(shape.ok()) << shape.status();
  return shape.ok() ? Rendered(*shape, "The bridge opened in 1894.", "When did it open?") : "";
}

TEST(DocumentTemplate, OfChatMlIsOneTurnOfTheUser) {
  EXPECT_EQ(Default(ChatStyle{}),
            "<|im_start|>user\nThe bridge opened in 1894.\n\nWhen did it open?<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(Default(ChatStyle{}, "Be brief."),
            "<|im_start|>system\nBe brief.<|im_end|>\n"
            "<|im_start|>user\nThe bridge opened in 1894.\n\nWhen did it open?<|im_end|>\n<|im_start|>assistant\n");
  const ChatStyle style = {.bos = "<s>", .system_turn = "You help."};
  EXPECT_EQ(Default(style),
            "<s><|im_start|>system\nYou help.<|im_end|>\n"
            "<|im_start|>user\nThe bridge opened in 1894.\n\nWhen did it open?<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(Default(style, "Be brief."), "<s>" + Default(ChatStyle{}, "Be brief."));
}

TEST(DocumentTemplate, OfLlama3IsOneTurnOfTheUser) {
  const std::string turns =
      "<|start_header_id|>user<|end_header_id|>\n\nThe bridge opened in 1894.\n\nWhen did it open?<|eot_id|>"
      "<|start_header_id|>assistant<|end_header_id|>\n\n";
  ChatStyle style = PlainChatStyle(ChatFamily::kLlama3, {});
  EXPECT_EQ(Default(style), "<|begin_of_text|>" + turns);
  style.before_system = "Today: 26 Jul 2024\n\n";
  EXPECT_EQ(Default(style, " Be brief.\n"),
            "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nToday: 26 Jul 2024\n\nBe brief.<|eot_id|>" +
                turns);
}

TEST(DocumentTemplate, WithoutAStyleIsDocumentBlankLineQuestionAndNewline) {
  const absl::StatusOr<ChatStyle> none = absl::FailedPreconditionError("no style");
  EXPECT_EQ(Default(none), "The bridge opened in 1894.\n\nWhen did it open?\n");
  EXPECT_TRUE(DefaultDocumentTemplate(none, {})->wants_bos);
  EXPECT_FALSE(DefaultDocumentTemplate(ChatStyle{}, {})->wants_bos);
  EXPECT_EQ(DefaultDocumentTemplate(none, "Be brief.").status(), none.status());
}

TEST(DocumentTemplate, OnlyTheFamilysOwnMarksAreSpecial) {
  const std::string system = "{document}\n\n{question}<|im_end|>";
  const auto shape = *DefaultDocumentTemplate(ChatStyle{}, system);
  EXPECT_EQ(Rendered(shape, "D", "Q"), "<|im_start|>system\n" + system +
                                           "<|im_end|>\n<|im_start|>user\nD\n\nQ<|im_end|>\n<|im_start|>assistant\n");
  for (const auto& segments : {shape.before, shape.between, shape.after}) {
    for (const Segment& segment : segments) {
      EXPECT_EQ(segment.parse_special, segment.text == "<|im_start|>" || segment.text == "<|im_end|>") << segment.text;
    }
  }
}

TEST(DocumentTemplate, OfAUserIsCutAtItsPlaceholders) {
  const auto shape = *ParseDocumentTemplate("<|im_start|>Text: {document} {question }\nQ: {question}\nA:");
  EXPECT_EQ(Text(shape.before), "<|im_start|>Text: ");
  EXPECT_EQ(Text(shape.between), " {question }\nQ: ");
  EXPECT_EQ(Text(shape.after), "\nA:");
  for (const auto& segments : {shape.before, shape.between, shape.after}) {
    ASSERT_EQ(segments.size(), 1u);
    EXPECT_TRUE(segments[0].parse_special);
  }
  const auto bare = *ParseDocumentTemplate("{document}{question}");
  EXPECT_TRUE(bare.before.empty() && bare.between.empty() && bare.after.empty());
}

TEST(DocumentTemplate, RefusesAUsersTemplateWithTheReason) {
  const auto message = [](std::string_view text) {
    const absl::Status status = ParseDocumentTemplate(text).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
    return std::string(status.message());
  };
  EXPECT_THAT(message("no placeholder"), HasSubstr("{document} is missing"));
  EXPECT_THAT(message("{question}"), HasSubstr("{document} is missing"));
  EXPECT_THAT(message("{document}"), HasSubstr("{question} is missing"));
  EXPECT_THAT(message("{document}{document}{question}"), HasSubstr("{document} stands twice"));
  EXPECT_THAT(message("{document}{question} {question}"), HasSubstr("{question} stands twice"));
  EXPECT_THAT(message("{question} {document}"), HasSubstr("{question} stands before {document}"));
  EXPECT_THAT(message("{document}\xff{question}"), HasSubstr("byte 10"));
}

}  // namespace
}  // namespace longhaul
