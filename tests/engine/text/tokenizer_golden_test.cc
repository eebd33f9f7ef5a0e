// Token ids against Hugging Face's tokenizers (tests/oracle/make_tokenizer_goldens.py).

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "engine/model/checkpoint.h"
#include "engine/model/vocabulary_reader.h"
#include "engine/text/chat_style.h"
#include "engine/text/chat_template.h"
#include "engine/text/tokenizer.h"
#include "tests/support/test_model.h"

namespace longhaul {
namespace {

class TokenizerGoldenTest : public ::testing::Test {
 protected:
  TokenizerGoldenTest() {
    std::ifstream(SourcePath("tests/oracle/goldens/tokenizer.json")) >> goldens_;
    vocabulary_ = *ReadVocabulary(**OpenCheckpoint(TestModelPath()));
  }
  std::unique_ptr<Tokenizer> With(const std::string& pre_tokenizer) {
    Vocabulary vocabulary = vocabulary_;
    vocabulary.pre_tokenizer = pre_tokenizer;
    return *Tokenizer::Create(std::move(vocabulary));
  }
  nlohmann::json goldens_;
  Vocabulary vocabulary_;
};

TEST_F(TokenizerGoldenTest, EveryPreTokenizerGivesTheSameIds) {
  const auto& texts = goldens_["texts"];
  ASSERT_GE(texts.size(), 200u);
  ASSERT_EQ(goldens_["ids"].size(), 5u);
  for (const char* name : {"smollm", "gpt-2", "llama-bpe", "qwen2", "default"}) {
    ASSERT_EQ(goldens_["ids"][name].size(), texts.size()) << name;
  }
  for (const auto& [name, ids] : goldens_["ids"].items()) {
    const auto tokenizer = With(name);
    int empty = 0;
    for (size_t i = 0; i < texts.size(); ++i) {
      if (ids[i].empty()) ++empty;
      EXPECT_EQ(*tokenizer->Encode(texts[i].get<std::string>()), ids[i].get<std::vector<TokenId>>())
          << name << ": " << texts[i];
    }
    EXPECT_LE(empty, 5) << name << ": texts of bytes that have no token";
  }
}

TEST_F(TokenizerGoldenTest, ChatsGetTheSameIds) {
  ASSERT_GE(goldens_["chats"].size(), 10u);
  const auto tokenizer = With("smollm");
  const auto style = FindChatStyle(vocabulary_);
  ASSERT_TRUE(style.ok()) << style.status();
  for (const auto& chat : goldens_["chats"]) {
    std::vector<std::pair<std::string, std::string>> said = chat[0];
    std::vector<ChatTurn> turns;
    for (const auto& [role, content] : said) turns.push_back({role, content});
    const auto segments = RenderChat(*style, turns);
    ASSERT_TRUE(segments.ok()) << segments.status();
    const std::vector<TokenId> ids = chat[1];
    EXPECT_GT(ids.size(), turns.size() * 4);
    EXPECT_EQ(*tokenizer->EncodeSegments(*segments, /*add_bos=*/false), ids) << chat[0];
  }
}

TEST_F(TokenizerGoldenTest, LinesOfTenThousandCharactersToo) {
  const auto tokenizer = With("smollm");
  for (const auto& rule : goldens_["long"]) {
    const std::string unit = rule[0];
    // The rule counts characters; a unit of one character that takes several bytes is repeated whole.
    const size_t characters = unit == "\u00e9" ? 1 : unit.size();
    std::string line;
    for (size_t i = 0; i < 10000 / characters + 1; ++i) line += unit;
    line.resize(10000 / characters * unit.size() + 10000 % characters);
    const std::vector<TokenId> ids = *tokenizer->Encode(line);
    EXPECT_EQ(ids.size(), rule[1].get<size_t>()) << unit;
    EXPECT_EQ(std::accumulate(ids.begin(), ids.end(), int64_t{0}), rule[2].get<int64_t>()) << unit;
  }
}

}  // namespace
}  // namespace longhaul
