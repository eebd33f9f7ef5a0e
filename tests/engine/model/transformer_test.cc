#include "engine/model/transformer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/backend/cpu/cpu_backend.h"
#include "engine/base/mix64.h"
#include "engine/model/gguf/gguf.h"
#include "tests/oracle/oracle_support.h"
#include "tests/support/gguf_writer.h"

namespace longhaul {
namespace {

using ::testing::HasSubstr;

// What Transformer::Create says of a model of three layers whose configuration was changed, and whether it had read
// anything of the file by then.
struct Answer {
  absl::Status status;
  bool read = false;
};

Answer Create(const std::function<void(ModelConfig&)>& change) {
  const std::vector<std::byte> bytes = TinyModel({.n_layers = 3}).Build();
  ModelFile model = *LoadModelFile(*ReadGguf(SourceOf(bytes, "m.gguf")));
  change(model.config);
  Answer answer;
  const StopCondition notes = [&answer] {
    answer.read = true;
    return false;
  };
  TensorReader reader(*model.checkpoint, 1, notes);
  const auto backend = *CreateCpuBackend({.threads = 1});
  answer.status = Transformer::Create(model, reader, {.max_tokens = 1, .max_logit_rows = 1}, *backend).status();
  return answer;
}

TEST(TransformerTest, TakesWhatItsOperationsCompute) {
  const Answer plain = Create([](ModelConfig&) {});
  EXPECT_TRUE(plain.status.ok()) << plain.status;
  EXPECT_TRUE(plain.read);
}

// Otherwise the answers would be wrong without a sign.
TEST(TransformerTest, RefusesByNameWhatNoOperationDoes) {
  struct Refusal {
    std::function<void(ModelConfig&)> change;
    std::string message;
  };
  const Refusal refusals[] = {
      {[](ModelConfig& c) { c.embedding_scale = 24; }, "m.gguf: embedding scale is 24: only 1 is supported"},
      {[](ModelConfig& c) { c.final_logit_softcap = 30; },
       "m.gguf: final logit softcap is 30: only 0 (none) is supported"},
      {[](ModelConfig& c) { c.layers[2].window = 512; },
       "m.gguf: layer 2: attention window is 512: only 0 (the whole text) is supported"},
      {[](ModelConfig& c) { c.layers[1].rotation = LayerRotation::kConstant; },
       "layer 1: rotation is constant: only request is"},
      {[](ModelConfig& c) { c.layers[1].rotation = LayerRotation::kNone; }, "layer 1: rotation is none: only"},
      {[](ModelConfig& c) { c.layers[0].attention_scale = 0.5f; },
       "layer 0: attention scale is 0.5: only 1 / sqrt(head_dim) is"},
      {[](ModelConfig& c) { c.layers[0].attention_softcap = 50; }, "layer 0: attention softcap is 50: only 0"},
      {[](ModelConfig& c) { c.layers[0].attention_norm.after = true; },
       "layer 0: norm after attention is true: only false is"},
      {[](ModelConfig& c) { c.layers[0].feed_forward_norm.after = true; }, "layer 0: norm after feed-forward is true"},
      {[](ModelConfig& c) { c.layers[0].gate = Gate::kGelu; }, "layer 0: gate is gelu: only silu is"},
  };
  for (const Refusal& refusal : refusals) {
    const Answer answer = Create(refusal.change);
    EXPECT_EQ(answer.status.code(), absl::StatusCode::kUnimplemented) << refusal.message;
    EXPECT_THAT(std::string(answer.status.message()), HasSubstr(refusal.message));
    EXPECT_FALSE(answer.read) << refusal.message;
  }
}

// Log-probabilities of a text by a model whose embeddings all have a mean square of 1 and whose first norm has weights
// of `weight`: with 1 it leaves what goes into the layer as it is. `attention_adds`: else the feed-forward's norm does.
std::vector<float> Scores(float weight, bool attention_adds, const std::function<void(LayerConfig&)>& change) {
  constexpr size_t kWidth = 32, kTokens = 64;
  GgufWriter writer = TinyModel({.gain = 3, .type = [](std::string_view) { return TensorType::kF32; }});
  const auto floats = [&writer](const char* name, std::vector<uint64_t> dims, const std::vector<float>& values) {
    writer.SetTensor(name, std::move(dims), 0,
                     std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)));
  };
  std::vector<float> signs(kTokens * kWidth);
  for (size_t i = 0; i < signs.size(); ++i) signs[i] = Mix64(i) % 2 == 0 ? 1.0f : -1.0f;
  floats("token_embd.weight", {kWidth, kTokens}, signs);
  floats("blk.0.attn_norm.weight", {kWidth}, std::vector<float>(kWidth, weight));
  floats("blk.0.ffn_norm.weight", {kWidth}, std::vector<float>(kWidth, weight));
  if (!attention_adds) floats("blk.0.attn_output.weight", {kWidth, kWidth}, std::vector<float>(kWidth * kWidth));
  writer.SetFloat32("llama.attention.layer_norm_rms_epsilon", 1e-10f);
  const std::vector<std::byte> bytes = writer.Build();
  ModelFile model = *LoadModelFile(*ReadGguf(SourceOf(bytes, "m.gguf")));
  change(model.config.layers[0]);

  const auto runner = MakeRunner(ComputeType::kF32, CacheType::kF32, 1 << 20, model);
  const std::vector<TokenId> tokens = {3, 1, 4, 1, 5, 9, 2, 6}, targets = {1, 4, 1, 5, 9, 2, 6, 5};
  std::vector<float> scores;
  for (const TokenScore& score : Row(*runner, *PlainPlan(model.config.rotation)).Step(tokens, targets).scores) {
    scores.push_back(score.logprob);
  }
  EXPECT_EQ(scores.size(), targets.size());
  return scores;
}

TEST(TransformerTest, ALayerMayHaveNoNormBeforeAPart) {
  const auto all = [](LayerConfig&) {};
  const auto no_attention_norm = [](LayerConfig& layer) { layer.attention_norm.before = false; };
  const auto no_feed_forward_norm = [](LayerConfig& layer) { layer.feed_forward_norm.before = false; };
  EXPECT_EQ(Scores(1, true, no_attention_norm), Scores(1, true, all));
  EXPECT_NE(Scores(2, true, no_attention_norm), Scores(2, true, all));
  EXPECT_EQ(Scores(1, false, no_feed_forward_norm), Scores(1, false, all));
  EXPECT_NE(Scores(2, false, no_feed_forward_norm), Scores(2, false, all));
}

}  // namespace
}  // namespace longhaul
