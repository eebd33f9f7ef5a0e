#include "engine/model/model_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "tests/engine/model/loaded_model.h"
#include "tests/support/gguf_writer.h"
#include "tests/support/test_model.h"

namespace longhaul {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(ModelFileTest, LoadsTheDefaultModel) {
  const auto model = LoadModelFile(TestModelPath());
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->tensors.layers.size(), 30u);
  EXPECT_EQ(model->parameters, 134515008);
  EXPECT_TRUE(model->layers_quantized);
  EXPECT_EQ(model->tensors.embedding.tensor.rows, 49152);
  EXPECT_EQ(model->tensors.embedding.tensor.columns, 576);
  EXPECT_FALSE(model->tensors.output.has_value());  // tied
  EXPECT_EQ(model->tensors.layers[29].query_key_value.matrix[1].tensor.rows, 192);
  EXPECT_EQ(model->tensors.layers[29].down.matrix[0].tensor.columns, 1536);
  EXPECT_EQ(model->tensors.layers[0].gate_up.matrix[0].tensor.type, TensorType::kQ4_1);
}

TEST(ModelFileTest, TakesAnOutputMatrixOfItsOwn) {
  TinyModelOptions options;
  options.tied = false;
  const Loaded separate(TinyModel(options));
  ASSERT_TRUE(separate.model.ok()) << separate.model.status();
  ASSERT_TRUE(separate.model->tensors.output.has_value());
  EXPECT_EQ(separate.model->tensors.output->tensor.name, "output.weight");
  EXPECT_NE(separate.model->tensors.output->offset, separate.model->tensors.embedding.offset);

  const Loaded tied(TinyModel());
  ASSERT_TRUE(tied.model.ok()) << tied.model.status();
  EXPECT_FALSE(tied.model->tensors.output.has_value());
}

TEST(ModelFileTest, LayersOfFloatsAreNotQuantized) {
  TinyModelOptions options;
  options.type = [](std::string_view name) {
    return name == "token_embd.weight" ? TensorType::kQ8_0 : TensorType::kBF16;
  };
  const Loaded loaded(TinyModel(options));
  ASSERT_TRUE(loaded.model.ok()) << loaded.model.status();
  EXPECT_FALSE(loaded.model->layers_quantized);
}

TEST(ModelFileTest, OrdersRotaryPairsHalfSplitInEachHead) {
  TinyModelOptions options;
  options.head_dim = 8;
  GgufWriter writer = TinyModel(options);
  const Loaded whole(writer);
  ASSERT_TRUE(whole.model.ok()) << whole.model.status();
  const LayerTensors& layer = whole.model->tensors.layers[0];
  EXPECT_THAT(layer.query_key_value.matrix[0].tensor.row_order,
              ElementsAre(0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15));
  EXPECT_THAT(layer.query_key_value.matrix[1].tensor.row_order, ElementsAre(0, 2, 4, 6, 1, 3, 5, 7));
  EXPECT_TRUE(layer.query_key_value.matrix[2].tensor.row_order.empty());
  EXPECT_TRUE(layer.attention_output.matrix[0].tensor.row_order.empty());

  writer.SetUint32("llama.rope.dimension_count", 4);
  const Loaded partial(writer);
  ASSERT_TRUE(partial.model.ok()) << partial.model.status();
  EXPECT_THAT(partial.model->tensors.layers[0].query_key_value.matrix[1].tensor.row_order,
              ElementsAre(0, 2, 1, 3, 4, 5, 6, 7));
}

TEST(ModelFileTest, EveryTensorMustBeThere) {
  for (const char* name :
       {"token_embd.weight", "output_norm.weight", "blk.0.attn_norm.weight", "blk.0.attn_q.weight",
        "blk.0.attn_k.weight", "blk.0.attn_v.weight", "blk.0.attn_output.weight", "blk.0.ffn_norm.weight",
        "blk.0.ffn_gate.weight", "blk.0.ffn_up.weight", "blk.0.ffn_down.weight"}) {
    GgufWriter writer = TinyModel();
    writer.RemoveTensor(name);
    EXPECT_THAT(ErrorOf(writer), HasSubstr("m.gguf: tensor '" + std::string(name) + "' is missing, expected one of"));
  }
}

TEST(ModelFileTest, RefusesWrongShapesAndTypes) {
  const auto error = [](const char* name, std::vector<uint64_t> dims, TensorType type) {
    GgufWriter writer = TinyModel();
    writer.SetRandomTensor(name, std::move(dims), type, 1);
    return ErrorOf(writer);
  };
  EXPECT_THAT(error("blk.0.attn_q.weight", {32, 16}, TensorType::kF32),
              HasSubstr("tensor 'blk.0.attn_q.weight' has shape [32, 16], expected [32, 32]"));
  EXPECT_THAT(error("blk.0.ffn_down.weight", {32, 64}, TensorType::kF32), HasSubstr("expected [64, 32]"));
  EXPECT_THAT(error("blk.0.attn_k.weight", {32, 16, 1}, TensorType::kF32), HasSubstr("has shape [32, 16, 1]"));
  EXPECT_THAT(error("token_embd.weight", {32, 63}, TensorType::kF32),
              HasSubstr("has shape [32, 63], expected [32, 64]"));
  EXPECT_THAT(error("output.weight", {32, 63}, TensorType::kF32), HasSubstr("tensor 'output.weight' has shape"));
  EXPECT_THAT(error("output_norm.weight", {32}, TensorType::kQ8_0),
              HasSubstr("tensor 'output_norm.weight' has type Q8_0, expected F32, F16 or BF16"));
}

TEST(ModelFileTest, RefusesTensorsThatWouldChangeTheResult) {
  for (const char* name : {"blk.0.attn_k.bias", "blk.1.attn_q.weight", "blk.0.ffn_gate_inp.weight", "output.bias",
                           "rope_factors_short.weight", "blk.0.attn_q_norm.weight"}) {
    GgufWriter writer = TinyModel();
    writer.SetRandomTensor(name, {32}, TensorType::kF32, 1);
    EXPECT_THAT(ErrorOf(writer), HasSubstr("m.gguf: tensor '" + std::string(name) + "' is none that"));
  }
  for (const char* name : {"blk.0.attn_rot_embd.weight", "blk.0.rot_embd.weight"}) {
    GgufWriter writer = TinyModel();
    writer.SetRandomTensor(name, {8}, TensorType::kF32, 1);
    EXPECT_EQ(ErrorOf(writer), "loaded");
  }
  const float ones[] = {1, 1, 1, 1, 1, 1, 1, 1};
  GgufWriter writer = TinyModel();
  writer.SetTensor("rope_factors_long.weight", {8}, 0, std::string(reinterpret_cast<const char*>(ones), sizeof(ones)));
  EXPECT_EQ(ErrorOf(writer), "loaded");
}

TEST(ModelFileTest, TheFuzzersSeedIsSmallAndWhole) {
  const Loaded loaded(SmallestModel());
  EXPECT_TRUE(loaded.model.ok()) << loaded.model.status();
  EXPECT_LT(loaded.bytes.size(), 4096u);
}

}  // namespace
}  // namespace longhaul
