#include "engine/base/printable.h"

#include <gtest/gtest.h>

#include <string>

#include "engine/base/quoted.h"
#include "engine/base/utf8.h"

namespace longhaul {
namespace {

using namespace std::string_literals;

TEST(Printable, EscapesEveryControlCharacterAndNothingElse) {
  EXPECT_EQ(Printable(""), "");
  EXPECT_EQ(Printable("a\nb\tc\rd"), "a\\nb\\tc\\rd");
  EXPECT_EQ(Printable("\x1b[31mred\x1b[0m \x7f"), "\\x1b[31mred\\x1b[0m \\x7f");
  EXPECT_EQ(Printable("nul\0!"s), "nul\\x00!");
  EXPECT_EQ(Printable("\u0080 \u009b5m \u009f \u00a0"), "\\u0080 \\u009b5m \\u009f \u00a0");
  EXPECT_EQ(Printable("Grüße, 你好 🙂 \\n 'x' \"y\""), "Grüße, 你好 🙂 \\n 'x' \"y\"");
  for (int c = 0x20; c < 0x7f; ++c) EXPECT_EQ(Printable(std::string(1, static_cast<char>(c))).size(), 1u) << c;
}

TEST(Printable, EscapesWhatIsNotUtf8ByteByByte) {
  EXPECT_EQ(Printable("\xff\xc3"), "\\xff\\xc3");
  EXPECT_EQ(Printable("\x9b"
                      "1mé\xe2\x82"),
            "\\x9b1mé\\xe2\\x82");
  EXPECT_EQ(Printable("\xc2"), "\\xc2");
  EXPECT_EQ(Printable("\xed\xa0\x80."), "\\xed\\xa0\\x80.");
}

TEST(Printable, KeepsLinesAndTabsOfAText) {
  EXPECT_EQ(PrintableText("a\n\tb\r\n\x1b]0;title\x07"), "a\n\tb\\r\n\\x1b]0;title\\x07");
}

TEST(Quoted, IsOneLineInQuotesThatNothingInsideCanEnd) {
  EXPECT_EQ(Quoted(""), "''");
  EXPECT_EQ(Quoted("é\nx"), "'é\\nx'");
  EXPECT_EQ(Quoted("it's \\n"), "'it\\'s \\\\n'");
}

TEST(Quoted, IsCutBetweenCharacters) {
  EXPECT_EQ(Quoted(std::string(80, 'a')), "'" + std::string(80, 'a') + "'");
  EXPECT_EQ(Quoted(std::string(81, 'a')), "'" + std::string(80, 'a') + "...'");
  EXPECT_EQ(Quoted(std::string(79, 'a') + "🙂"), "'" + std::string(79, 'a') + "...'");
  std::string text;
  for (int i = 0; i < 50; ++i) text += "€";
  const std::string quoted = Quoted(text);
  EXPECT_EQ(FirstInvalidUtf8(quoted), quoted.size());
  EXPECT_EQ(quoted.find("\\x"), std::string::npos) << quoted;
  EXPECT_EQ(Quoted(std::string(100, '\x80')).substr(0, 9), "'\\x80\\x80");
}

}  // namespace
}  // namespace longhaul
