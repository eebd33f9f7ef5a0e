// Token ids against Hugging Face's tokenizers (tests/oracle/make_tokenizer_goldens.py).

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string>
#include <vector>

#include "engine/model/gguf.h"
#include "engine/model/model_config.h"
#include "engine/text/tokenizer.h"
#include "tests/support/test_model.h"

namespace longhaul {
namespace {

class TokenizerGoldenTest : public ::testing::Test {
 protected:
  TokenizerGoldenTest() {
    std::ifstream(SourcePath("tests/oracle/goldens/tokenizer.json")) >> goldens_;
    vocabulary_ = *ReadVocabulary(**GgufFile::Open(TestModelPath()));
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
  for (const auto& [name, ids] : goldens_["ids"].items()) {
    const auto tokenizer = With(name);
    for (size_t i = 0; i < texts.size(); ++i) {
      EXPECT_EQ(*tokenizer->Encode(texts[i].get<std::string>()), ids[i].get<std::vector<TokenId>>())
          << name << ": " << texts[i];
    }
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
