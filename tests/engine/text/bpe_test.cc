#include "engine/text/bpe.h"

#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "engine/model/checkpoint.h"
#include "engine/model/vocabulary_reader.h"
#include "engine/text/byte_alphabet.h"
#include "engine/text/tokenizer.h"
#include "tests/support/test_model.h"

namespace longhaul {
namespace {

class BpeTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    vocabulary_ = new Vocabulary(*ReadVocabulary(**OpenCheckpoint(TestModelPath())));
    bpe_ = new Bpe;
    ASSERT_TRUE(bpe_->Create(*vocabulary_, [](TokenId) { return false; }).ok());
    for (size_t i = 0; i < vocabulary_->tokens.size(); ++i) ids_[vocabulary_->tokens[i]] = static_cast<TokenId>(i);
    for (size_t i = 0; i < vocabulary_->merges.size(); ++i) ranks_[vocabulary_->merges[i]] = static_cast<int>(i);
  }

  static std::vector<TokenId> Encode(const std::string& piece) {
    const StopCondition never;
    StopPoll poll(never);
    Bpe::Scratch scratch;
    std::vector<TokenId> ids;
    EXPECT_TRUE(bpe_->Encode(piece, poll, scratch, ids));
    return ids;
  }

  // The definition, word for word: the pair of the lowest rank, leftmost first, until there is none.
  static std::vector<TokenId> Reference(const std::string& piece) {
    std::map<int, std::string> parts;
    for (size_t i = 0; i < piece.size(); ++i) {
      parts[static_cast<int>(i)] = CharacterOfByte(static_cast<unsigned char>(piece[i]));
    }
    std::set<std::pair<int, int>> pairs;  // rank, place of the left part
    const auto rank = [&](auto left) {
      const auto found = ranks_.find(left->second + " " + std::next(left)->second);
      return found == ranks_.end() ? -1 : found->second;
    };
    const auto change = [&](auto left, bool add) {
      if (left == parts.end() || std::next(left) == parts.end()) return;
      const int r = rank(left);
      if (r >= 0 && add) pairs.emplace(r, left->first);
      if (r >= 0 && !add) pairs.erase({r, left->first});
    };
    for (auto part = parts.begin(); part != parts.end(); ++part) change(part, true);
    while (!pairs.empty()) {
      const auto left = parts.find(pairs.begin()->second), right = std::next(left);
      const auto before = left == parts.begin() ? parts.end() : std::prev(left);
      for (const auto& part : {before, left, right}) change(part, false);
      left->second += right->second;
      parts.erase(right);
      for (const auto& part : {before, left}) change(part, true);
    }
    std::vector<TokenId> ids;
    for (const auto& [place, part] : parts) ids.push_back(ids_.at(part));
    return ids;
  }

  static Vocabulary* vocabulary_;
  static Bpe* bpe_;
  static std::map<std::string, TokenId> ids_;
  static std::map<std::string, int> ranks_;
};
Vocabulary* BpeTest::vocabulary_;
Bpe* BpeTest::bpe_;
std::map<std::string, TokenId> BpeTest::ids_;
std::map<std::string, int> BpeTest::ranks_;

TEST_F(BpeTest, PiecesOfEverySizeAreMergedAsDefined) {
  std::mt19937 random(11);
  for (const std::string alphabet : {" ", "a", "ab", "0=", "etaoin", "abcdefghijklmnopqrstuvwxyz"}) {
    for (const size_t size : {1, 2, 31, 32, 33, 700, 16383, 16384, 16385, 40000}) {
      std::string piece;
      for (size_t i = 0; i < size; ++i) piece += alphabet[random() % alphabet.size()];
      EXPECT_EQ(Encode(piece), Reference(piece)) << size << " of '" << alphabet << "'";
    }
  }
}

TEST_F(BpeTest, StopsInTheMiddleOfAHugePieceAndOfAText) {
  const auto tokenizer = *Tokenizer::Create(*vocabulary_);
  for (const std::string unit : {" ", "a", "word "}) {
    std::string text;
    while (text.size() < size_t{2} << 20) text += unit;
    int asked = 0;
    const auto ids = tokenizer->Encode(text, false, false, [&] { return ++asked == 20; });
    EXPECT_EQ(ids.status().code(), absl::StatusCode::kCancelled);
    EXPECT_EQ(asked, 20);
  }
}

// A heap of all places took four times as long.
TEST_F(BpeTest, AHugePieceTakesTimeInProportionToItsSize) {
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_FALSE(Encode(std::string(size_t{4} << 20, ' ')).empty());
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  std::printf("4 MiB of spaces: %.2f s\n", seconds);
  EXPECT_LT(seconds, 30);
}

}  // namespace
}  // namespace longhaul
