#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/engine/model/loaded_model.h"
#include "tests/support/gguf_writer.h"

namespace longhaul {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST(Qwen2Test, HasBiasesAndItsPairsStayAsTheyLie) {
  const Loaded loaded(TinyModel({.architecture = "qwen2", .n_layers = 2}));
  const auto& model = loaded.model;
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->config.pair_layout, PairLayout::kHalfSplit);
  for (size_t l = 0; l < 2; ++l) {
    EXPECT_TRUE(model->config.layers[l].biases.query_key_value);
    EXPECT_FALSE(model->config.layers[l].biases.attention_output);
    const StoredLinear& qkv = model->tensors.layers[l].query_key_value;
    EXPECT_THAT(qkv.matrix, SizeIs(3));
    EXPECT_THAT(qkv.bias, SizeIs(3));
    EXPECT_THAT(qkv.matrix[0].tensor.row_order, IsEmpty());
    EXPECT_THAT(qkv.bias[1].tensor.row_order, IsEmpty());
    EXPECT_THAT(model->tensors.layers[l].down.bias, IsEmpty());
  }
}

TEST(Qwen2Test, AMissingBiasAndOneThatItDoesNotHaveAreNamed) {
  GgufWriter missing = TinyModel({.architecture = "qwen2"});
  missing.RemoveTensor("blk.0.attn_k.bias");
  EXPECT_THAT(ErrorOf(missing), HasSubstr("m.gguf: tensor 'blk.0.attn_k.bias' is missing, expected one of shape [16]"));
  GgufWriter further = TinyModel({.architecture = "qwen2"});
  further.SetRandomTensor("blk.0.attn_output.bias", {32}, TensorType::kF32, 1);
  EXPECT_THAT(ErrorOf(further), HasSubstr("tensor 'blk.0.attn_output.bias' is none that"));
}

TEST(Qwen3Test, NormalisesEachHead) {
  const Loaded loaded(TinyModel({.architecture = "qwen3"}));
  const auto& model = loaded.model;
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->config.pair_layout, PairLayout::kHalfSplit);
  EXPECT_EQ(model->config.layers[0].qk_norm, QkNorm::kPerHead);
  EXPECT_EQ(model->tensors.layers[0].query_norm->tensor.columns, 16);
  EXPECT_EQ(model->tensors.layers[0].key_norm->tensor.columns, 16);
  EXPECT_THAT(model->tensors.layers[0].query_norm->tensor.row_order, IsEmpty());
  EXPECT_THAT(model->tensors.layers[0].query_key_value.bias, IsEmpty());
}

TEST(Qwen3Test, AMissingNormIsNamed) {
  GgufWriter missing = TinyModel({.architecture = "qwen3"});
  missing.RemoveTensor("blk.0.attn_q_norm.weight");
  EXPECT_THAT(ErrorOf(missing), HasSubstr("tensor 'blk.0.attn_q_norm.weight' is missing"));
}

// The pairs of llama are interleaved: those of its biases too.
TEST(LlamaTest, BiasesAreReorderedAsTheirRowsAre) {
  GgufWriter writer = TinyModel();
  for (const char* part : {"attn_q", "attn_k", "attn_v"}) {
    writer.SetRandomTensor(std::string("blk.0.") + part + ".bias", {part[5] == 'q' ? 32u : 16u}, TensorType::kF32, 1);
  }
  const Loaded loaded(writer);
  const auto& model = loaded.model;
  ASSERT_TRUE(model.ok()) << model.status();
  const StoredLinear& qkv = model->tensors.layers[0].query_key_value;
  ASSERT_THAT(qkv.bias, SizeIs(3));
  EXPECT_THAT(qkv.bias[0].tensor.row_order, SizeIs(32));
  for (size_t part = 0; part < 3; ++part) {
    EXPECT_EQ(qkv.bias[part].tensor.row_order, qkv.matrix[part].tensor.row_order);
  }
}

}  // namespace
}  // namespace longhaul
