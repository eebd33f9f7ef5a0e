#include "client/evaluation/shelf.h"

#include <gtest/gtest.h>

#include <cctype>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"

namespace longhaul {
namespace {

// What a tokenizer of subwords makes of it: a token for three letters of an invented name (a capital that begins no
// sentence), one for each digit and each sign, one for any other word.
int64_t EstimatedTokens(const std::string& text) {
  int64_t tokens = 0;
  for (size_t i = 0; i < text.size();) {
    size_t end = i;
    while (end < text.size() && std::isalpha(static_cast<unsigned char>(text[end])) != 0) ++end;
    if (end == i) {
      tokens += text[i] == ' ' ? 0 : 1;
      ++i;
      continue;
    }
    tokens += std::isupper(static_cast<unsigned char>(text[i])) != 0 && end - i == 7 ? 3 : 1;
    i = end;
  }
  return tokens;
}

bool Holds(const std::string& text, const std::string& part) {
  return absl::StrContains(absl::AsciiStrToLower(text), absl::AsciiStrToLower(part));
}

TEST(Shelf, IsTheSameForTheSameSeedAndALongerOneBeginsWithIt) {
  const auto shelf = MakeShelf(3, 20), longer = MakeShelf(3, 50), other = MakeShelf(4, 20);
  for (size_t i = 0; i < shelf.size(); ++i) {
    EXPECT_EQ(shelf[i].text, longer[i].text);
    EXPECT_EQ(shelf[i].question, longer[i].question);
    EXPECT_EQ(shelf[i].answer, longer[i].answer);
    EXPECT_NE(shelf[i].text, other[i].text);
  }
}

TEST(Shelf, AnAnswerStandsInOneDocumentOnlyAndNotInItsQuestion) {
  const auto shelf = MakeShelf(0, 200);
  for (size_t i = 0; i < shelf.size(); ++i) {
    EXPECT_FALSE(Holds(shelf[i].question, shelf[i].answer));
    for (size_t j = 0; j < shelf.size(); ++j) {
      EXPECT_EQ(Holds(shelf[j].text, shelf[i].answer), i == j) << i << " " << j;
    }
  }
}

TEST(Shelf, NoTwoQuestionsAreAlikeAndNothingIsLeftUnfilled) {
  std::set<std::string> questions;
  for (const ShelfDocument& document : MakeShelf(1, 100)) {
    questions.insert(document.question);
    for (const std::string& text : {document.text, document.question}) {
      EXPECT_EQ(text.find_first_of("{}[]|"), std::string::npos) << text;
    }
  }
  EXPECT_EQ(questions.size(), 100u);
}

TEST(Shelf, DocumentsHave150To250Tokens) {
  for (const ShelfDocument& document : MakeShelf(2, 200)) {
    EXPECT_GE(EstimatedTokens(document.text), 150) << document.text;
    EXPECT_LE(EstimatedTokens(document.text), 250) << document.text;
  }
}

TEST(Shelf, EveryQuestionHasADocumentOfItsOwnAmongThoseThatAreRead) {
  for (const int64_t n : {1, 4, 16, 64, 100}) {
    std::set<int64_t> documents;
    for (int64_t question = 0; question < 150; ++question) {
      const int64_t document = DocumentOf(question), first = FirstBeside(document, n);
      documents.insert(document);
      EXPECT_LE(first, document);
      EXPECT_LT(document, first + n);
      EXPECT_LE(first + n, ShelfLength(150, n));
    }
    EXPECT_EQ(documents.size(), 150u);
  }
  EXPECT_EQ(ShelfLength(50, 64), 64);
}

}  // namespace
}  // namespace longhaul
