// NBCE in the engine against the goldens of make_nbce_goldens.py: eight documents, 32 greedy steps, in f32.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/decoding/nbce_combiner.h"
#include "engine/model/checkpoint.h"
#include "engine/model/vocabulary_reader.h"
#include "engine/prepare/document_encoder.h"
#include "engine/scheduling/sequence.h"
#include "tests/oracle/oracle_support.h"
#include "tests/support/hand_batch.h"
#include "tests/support/test_model.h"

namespace longhaul {
namespace {

constexpr int64_t kCacheBytes = int64_t{128} << 20;
// Of entropies, nats. What the oracle decided by a smaller margin may come out otherwise.
constexpr double kBound = 1e-2;

NbceParams ParamsOf(const nlohmann::json& golden) {
  return {.beta = golden["beta"], .eta = golden["eta"], .top_p = golden["top_p"]};
}

// Rows that read different prompts and then the same tokens.
class Rows {
 public:
  Rows(SingleRunner& runner, const std::vector<std::vector<TokenId>>& prompts)
      : runner_(runner),
        plan_(std::make_shared<const RotaryPlan>(*PlainPlan(TestModel().config.rotation))),
        pool_(runner.info().geometry) {
    for (const std::vector<TokenId>& prompt : prompts) {
      rows_.push_back(std::make_unique<Sequence>(prompt, plan_, pool_));
      // The last token waits for the first step of all rows together.
      Run({rows_.back().get()}, /*unread=*/1, {});
    }
  }

  void Append(TokenId id) {
    for (const auto& row : rows_) row->tokens.push_back(id);
  }

  // The last token of every row, and what follows. The logits stay with the runner until the next step.
  GroupResult Step(const BatchDraw& draw) {
    std::vector<Sequence*> all;
    for (const auto& row : rows_) all.push_back(row.get());
    return Run(all, /*unread=*/0, draw);
  }

 private:
  // Reads what is left of each row, but for the last `unread` tokens.
  GroupResult Run(const std::vector<Sequence*>& rows, int64_t unread, const std::optional<BatchDraw>& draw) {
    std::vector<HandRow> parts;
    for (Sequence* row : rows) {
      const int64_t from = row->n_computed, to = std::ssize(row->tokens) - unread;
      row->Reserve(to, to);
      parts.push_back(
          {.tokens = std::span(row->tokens).subspan(static_cast<size_t>(from), static_cast<size_t>(to - from)),
           .length = from,
           .blocks = row->blocks.blocks(),
           .plan = plan_});
      row->n_computed = to;
    }
    Batch batch;
    AddGroup(batch, parts, draw);
    auto ticket = runner_.Submit(std::move(batch));
    EXPECT_TRUE(ticket.ok()) << ticket.status();
    auto result = ticket.ok() ? runner_.Collect(*ticket) : ticket.status();
    EXPECT_TRUE(result.ok()) << result.status();
    return result.ok() ? std::move(result->groups.at(0)) : GroupResult();
  }

  SingleRunner& runner_;
  const std::shared_ptr<const RotaryPlan> plan_;
  BlockPool pool_;
  std::vector<std::unique_ptr<Sequence>> rows_;
};

TEST(NbceOracleTest, RowsAreThoseOfTheOracle) {
  const nlohmann::json golden = ReadGolden("nbce");
  const auto prompts = PromptEncoder::Create(*ReadVocabulary(**OpenCheckpoint(TestModelPath())), "");
  ASSERT_TRUE(prompts.ok()) << prompts.status();
  Contexts contexts;
  std::vector<Document> documents;
  for (size_t i = 0; i < golden["documents"].size(); ++i) {
    documents.push_back({golden["ids"][i], golden["documents"][i].get<std::string>()});
  }
  contexts.source = documents;
  const DocumentEncoder encoder(**prompts, TestModel().config.rotation.trained_length, std::ssize(documents) + 1);
  const auto rows = encoder.Encode(contexts, TextPrompt{golden["question"]});
  ASSERT_TRUE(rows.ok()) << rows.status();
  EXPECT_EQ(rows->rows, golden["rows"].get<std::vector<std::vector<TokenId>>>());
}

TEST(NbceOracleTest, EntropiesChoicesAndTokensAreThoseOfTheOracle) {
  const nlohmann::json golden = ReadGolden("nbce");
  const auto runner = MakeRunner(ComputeType::kF32, CacheType::kF32, kCacheBytes);
  ASSERT_NE(runner, nullptr);
  const auto prompts = golden["rows"].get<std::vector<std::vector<TokenId>>>();
  const auto tokens = golden["token"].get<std::vector<TokenId>>();
  const auto chosen = golden["chosen"].get<std::vector<int32_t>>();
  const auto vocabulary = static_cast<size_t>(TestModel().config.vocabulary_size);
  BatchDraw draw = Greedy();
  draw.merge = MergePolicy{.params = ParamsOf(golden)};
  Rows rows(*runner, prompts);
  Differences entropies;
  size_t n_choices = 0, n_tokens = 0;
  for (size_t i = 0; i < tokens.size(); ++i) {
    const GroupResult step = rows.Step(draw);
    const MergeChoice& choice = step.choice;

    // What the backend spreads over its threads is what one thread makes of the same logits.
    const std::vector<float> logits = runner->transformer().ReadLogits();
    ASSERT_EQ(logits.size(), prompts.size() * vocabulary);
    const NbceResult alone =
        CombineNbce({logits.data(), prompts.size(), vocabulary, vocabulary}, draw.merge->params, draw.previous);
    EXPECT_EQ(choice.row, alone.chosen) << "step " << i;
    EXPECT_EQ(choice.entropies, alone.entropies) << "step " << i;
    EXPECT_EQ(step.drawn.id, SampleToken(alone.logits, {.spec = draw.spec.get()}).id) << "step " << i;

    ASSERT_EQ(choice.entropies.size(), prompts.size());
    for (size_t row = 0; row < prompts.size(); ++row) {
      entropies.Add(static_cast<double>(choice.entropies[row]), golden["entropies"][i][row]);
    }
    if (golden["choice_margin"][i] > kBound) {
      EXPECT_EQ(choice.row, chosen[i]) << "step " << i;
      ++n_choices;
    }
    if (choice.row == chosen[i] && golden["token_margin"][i] > kBound) {
      EXPECT_EQ(step.drawn.id, tokens[i]) << "step " << i;
      ++n_tokens;
    }
    // Each step stands for itself: it follows what the oracle said.
    draw.previous = chosen[i];
    rows.Append(tokens[i]);
  }
  std::printf("entropies mean %.1e max %.1e | %zu choices, %zu tokens of %zu steps\n", entropies.mean(),
              entropies.max(), n_choices, n_tokens, tokens.size());
  EXPECT_LE(entropies.max(), kBound);
  EXPECT_GE(n_choices, tokens.size() - 4);
  EXPECT_GE(n_tokens, tokens.size() - 4);
}

}  // namespace
}  // namespace longhaul
