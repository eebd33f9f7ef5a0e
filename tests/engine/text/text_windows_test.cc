#include "engine/text/text_windows.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "engine/model/checkpoint.h"
#include "engine/model/vocabulary_reader.h"
#include "tests/support/test_model.h"

namespace longhaul {
namespace {

class TextWindowsTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    tokenizer_ = Tokenizer::Create(*ReadVocabulary(**OpenCheckpoint(TestModelPath())))->release();
  }
  static void TearDownTestSuite() { delete tokenizer_; }

  static std::string Bytes(std::span<const TokenId> ids) { return tokenizer_->Detokenize(ids, /*special=*/true); }

  static Tokenizer* tokenizer_;
};
Tokenizer* TextWindowsTest::tokenizer_;

// Among the pieces are characters that take several tokens and, sometimes, bytes that this vocabulary has no token for.
std::string RandomText(std::mt19937& random) {
  static const std::vector<std::string> kPieces = {"the ", "Bridge", " opened", "\n\n", "1894", "é", "naïve ", "漢字",
                                                   "𒀀", "\U0001F600", "    ", "<|im_end|>",
                                                   // From here on:
                                                   "\x04", "a\x06b", "\x13\x13", "\U00050000"};
  const size_t n_pieces = random() % 2 == 0 ? kPieces.size() : 12;
  std::string text;
  for (size_t n = random() % 60; n > 0; --n) text += kPieces[random() % n_pieces];
  return text;
}

bool IsSubsequence(const std::string& part, const std::string& whole) {
  size_t at = 0;
  for (char c : whole) at += at < part.size() && part[at] == c ? 1 : 0;
  return at == part.size();
}

TEST_F(TextWindowsTest, TheBytesOfAWindowAreThoseOfItsTokens) {
  std::mt19937 random(1);
  int exact = 0, inside_a_character = 0, with_lost_bytes = 0;
  for (int round = 0; round < 3000; ++round) {
    const std::string text = RandomText(random);
    const std::vector<TokenId> ids = *tokenizer_->Encode(text);
    const int64_t window = 1 + static_cast<int64_t>(random() % 30);
    const int64_t overlap = static_cast<int64_t>(random()) % window;
    const std::vector<TextWindow> windows = CutIntoWindows(*tokenizer_, text, ids, window, overlap);
    ASSERT_EQ(std::ssize(windows), NumWindows(std::ssize(ids), window, overlap));
    const bool nothing_lost = Bytes(ids) == text;
    with_lost_bytes += nothing_lost ? 0 : 1;
    int64_t covered_tokens = 0, covered_bytes = 0;
    for (size_t i = 0; i < windows.size(); ++i) {
      const TextWindow& w = windows[i];
      ASSERT_EQ(w.first_token, static_cast<int64_t>(i) * (window - overlap));
      ASSERT_TRUE(w.n_tokens == window || (i + 1 == windows.size() && w.n_tokens > (i == 0 ? 0 : overlap)));
      // No token and no byte lies between two windows.
      ASSERT_LE(w.first_token, covered_tokens);
      ASSERT_LE(w.first_byte, covered_bytes);
      covered_tokens = w.first_token + w.n_tokens;
      covered_bytes = w.first_byte + w.n_bytes;
      const auto of_window =
          std::span(ids).subspan(static_cast<size_t>(w.first_token), static_cast<size_t>(w.n_tokens));
      const std::string in_text = text.substr(static_cast<size_t>(w.first_byte), static_cast<size_t>(w.n_bytes));
      if (nothing_lost) {
        ASSERT_EQ(in_text, Bytes(of_window)) << "window " << i << " of " << text;
        ++exact;
        inside_a_character += (static_cast<unsigned char>(in_text[0]) & 0xc0) == 0x80 ? 1 : 0;
      } else {
        ASSERT_TRUE(IsSubsequence(Bytes(of_window), in_text)) << "window " << i << " of " << text;
      }
    }
    ASSERT_EQ(covered_tokens, std::ssize(ids));
    ASSERT_EQ(covered_bytes, ids.empty() ? 0 : std::ssize(text));
  }
  EXPECT_GT(exact, 1000);
  EXPECT_GT(inside_a_character, 100);
  EXPECT_GT(with_lost_bytes, 100);
}

TEST_F(TextWindowsTest, TokensEndWhereTheirBytesEndAlsoBesideBytesThatHaveNone) {
  std::mt19937 random(2);
  for (int round = 0; round < 1000; ++round) {
    const std::string text = RandomText(random);
    const std::vector<TokenId> ids = *tokenizer_->Encode(text);
    const std::vector<int64_t> ends = TokenEnds(*tokenizer_, text, ids);
    ASSERT_EQ(ends.size(), ids.size());
    int64_t before = 0;
    for (size_t i = 0; i < ids.size(); ++i) {
      const std::string range = text.substr(static_cast<size_t>(before), static_cast<size_t>(ends[i] - before));
      const std::string_view bytes = tokenizer_->TokenBytes(ids[i]);
      // What has no token may stand before and inside of it, and after the last.
      ASSERT_TRUE(IsSubsequence(std::string(bytes), range)) << i;
      ASSERT_TRUE(i + 1 == ids.size() || range.back() == bytes.back()) << i;
      before = ends[i];
    }
  }
}

TEST_F(TextWindowsTest, AShortTextIsOneWindowAndAnEmptyOneIsNone) {
  const std::string text = "One two three.";
  const std::vector<TokenId> ids = *tokenizer_->Encode(text);
  const auto windows = CutIntoWindows(*tokenizer_, text, ids, 2048, 256);
  ASSERT_EQ(windows.size(), 1u);
  EXPECT_EQ(windows[0].n_tokens, std::ssize(ids));
  EXPECT_EQ(windows[0].n_bytes, std::ssize(text));
  EXPECT_TRUE(CutIntoWindows(*tokenizer_, "", {}, 8, 2).empty());
  // Whole windows to the end: none follows that would hold the overlap alone.
  EXPECT_EQ(NumWindows(20, 8, 2), 3);
  EXPECT_EQ(NumWindows(21, 8, 2), 4);
  EXPECT_EQ(NumWindows(8, 8, 7), 1);
}

}  // namespace
}  // namespace longhaul
