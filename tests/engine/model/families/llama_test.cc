#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "engine/model/gguf/gguf.h"
#include "engine/model/model_config.h"
#include "tests/engine/model/changed_model.h"
#include "tests/support/gguf_writer.h"
#include "tests/support/test_model.h"

namespace longhaul {
namespace {

using ::testing::HasSubstr;
using Scaling = ModelRotation::Scaling;

absl::StatusOr<ModelConfig> Config(const Change& change) {
  const std::vector<std::byte> bytes = ChangedModel(change);
  const auto file = ReadGguf(SourceOf(bytes, "m.gguf"));
  if (!file.ok()) return file.status();
  return ReadModelConfig(**file);
}

TEST(ModelConfigTest, ReadsTheDefaultModel) {
  const auto file = OpenCheckpoint(TestModelPath());
  ASSERT_TRUE(file.ok()) << file.status();
  const auto config = ReadModelConfig(**file);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->architecture, "llama");
  EXPECT_EQ(config->n_layers, 30);
  EXPECT_EQ(config->width, 576);
  EXPECT_EQ(config->n_heads, 9);
  EXPECT_EQ(config->n_kv_heads, 3);
  EXPECT_EQ(config->head_dim, 64);
  EXPECT_EQ(config->feed_forward_width, 1536);
  EXPECT_EQ(config->vocabulary_size, 49152);
  EXPECT_FLOAT_EQ(config->norm_epsilon, 1e-5f);
  EXPECT_EQ(config->pair_layout, PairLayout::kInterleaved);
  EXPECT_EQ(config->rotation.rotary_dims, 64);
  EXPECT_EQ(config->rotation.base, 100000);
  EXPECT_EQ(config->rotation.trained_length, 8192);
  EXPECT_EQ(config->rotation.scaling, Scaling::kNone);
}

TEST(ModelConfigTest, FillsInWhatAFileMayLeaveOut) {
  const auto config = Config([](GgufWriter& w) {
    w.RemoveKey("llama.attention.head_count_kv");
    w.RemoveKey("llama.attention.key_length");
  });
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->n_kv_heads, 2);
  EXPECT_EQ(config->head_dim, 16);
  EXPECT_EQ(config->rotation.rotary_dims, 16);
  EXPECT_EQ(config->rotation.base, 10000);
}

TEST(ModelConfigTest, NamesAreUtf8AndShort) {
  const auto name = [](const std::string& value) {
    return Config([&](GgufWriter& w) { w.SetString("general.name", value); })->name;
  };
  EXPECT_EQ(name("Größe 7B"), "Größe 7B");
  EXPECT_EQ(name("7B\xff"), "7B\\xff");
  EXPECT_EQ(name(std::string(100000, 'x')), std::string(256, 'x'));
}

TEST(ModelConfigTest, ReadsTheDeclaredScaling) {
  const auto rotation = [](const Change& change) {
    const auto config = Config(change);
    EXPECT_TRUE(config.ok()) << config.status();
    if (!config.ok()) return ModelRotation{};
    EXPECT_TRUE(PlainPlan(config->rotation).ok());
    return config->rotation;
  };
  const ModelRotation yarn = rotation([](GgufWriter& w) {
    w.SetString("llama.rope.scaling.type", "yarn");
    w.SetFloat32("llama.rope.scaling.factor", 4);
    w.SetUint32("llama.rope.scaling.original_context_length", 64);
    w.SetFloat32("llama.rope.scaling.attn_factor", 0.5);
    w.SetFloat32("llama.rope.scaling.yarn_beta_fast", 32);
    w.SetUint32("llama.rope.dimension_count", 8);
    w.SetFloat32("llama.rope.freq_base", 500000);
  });
  EXPECT_EQ(yarn.scaling, Scaling::kYarn);
  EXPECT_EQ(yarn.factor, 4);
  EXPECT_EQ(yarn.original_length, 64);
  EXPECT_EQ(yarn.attention_factor, 0.5);
  EXPECT_EQ(yarn.trained_length, 256);
  EXPECT_EQ(yarn.rotary_dims, 8);
  EXPECT_EQ(yarn.base, 500000);

  for (const char* key : {"llama.rope.scaling.factor", "llama.rope.scale_linear"}) {
    const ModelRotation linear = rotation([&](GgufWriter& w) { w.SetFloat32(key, 2); });
    EXPECT_EQ(linear.scaling, Scaling::kLinear) << key;
    EXPECT_EQ(linear.factor, 2);
  }
  const ModelRotation none = rotation([](GgufWriter& w) {
    w.SetString("llama.rope.scaling.type", "none");
    w.SetFloat32("llama.rope.scaling.factor", 2);
  });
  EXPECT_EQ(none.scaling, Scaling::kNone);
  EXPECT_EQ(rotation([](GgufWriter& w) { w.SetFloat32("llama.rope.scaling.factor", 0); }).scaling, Scaling::kNone);
}

// Two tables of one form.
class PairTableTest : public testing::TestWithParam<std::pair<const char*, std::vector<float> ModelRotation::*>> {};

INSTANTIATE_TEST_SUITE_P(Tables, PairTableTest,
                         testing::Values(std::pair("rope_freqs.weight", &ModelRotation::pair_factors),
                                         std::pair("rope_factors_long.weight", &ModelRotation::long_factors)));

TEST_P(PairTableTest, IsReadAndChecked) {
  const auto [tensor, table] = GetParam();
  std::vector<float> factors = {1, 1, 1, 1, 2, 4, 8, 8};
  const auto read = [&, name = tensor](uint32_t type, std::vector<uint64_t> dims) {
    return Config([&](GgufWriter& w) {
      w.SetTensor(name, dims, type, std::string(reinterpret_cast<const char*>(factors.data()), 32));
    });
  };
  const auto config = read(0, {8});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->rotation.*table, factors);
  EXPECT_EQ(config->rotation.pair_factors.size() + config->rotation.long_factors.size(), 8u);

  const auto error = [&](uint32_t type, std::vector<uint64_t> dims) { return Message(read(type, dims).status()); };
  const std::string name = tensor;
  EXPECT_THAT(error(0, {4}), HasSubstr("'" + name + "' has 4 elements in 1 dimensions, expected 8"));
  EXPECT_THAT(error(0, {4, 2}), HasSubstr("in 2 dimensions"));
  EXPECT_THAT(error(1, {8}), HasSubstr("has type F16, expected F32"));
  for (const float bad :
       {0.0f, -1.0f, std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    factors[3] = bad;
    EXPECT_THAT(error(0, {8}), HasSubstr("'" + name + "' holds"));
  }
}

TEST(ModelConfigTest, RefusesByName) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const Refusal refusals[] = {
      {Without("general.architecture"), "'general.architecture' is missing"},
      {String("general.architecture", "mamba"),
       "'general.architecture' holds 'mamba', which is not supported: 'llama', "},
      {Uint("split.count", 3), "one of 3 parts of a split model"},
      {[](GgufWriter& w) { w.SetUint32("split.count", 3), w.SetUint32("split.no", 1); },
       "m.gguf: part 2 of 3 of a split model, which is not supported yet: merge them with"},
      {[](GgufWriter& w) { w.SetString("general.type", "adapter"); },
       "key 'general.type' holds 'adapter', expected 'model'"},
      {Without("tokenizer.ggml.tokens"), "'tokenizer.ggml.tokens' is missing"},
      {[](GgufWriter& w) { w.SetStrings("tokenizer.ggml.tokens", {}); }, "'tokenizer.ggml.tokens' holds 0 tokens"},
      {Without("llama.block_count"), "'llama.block_count' is missing"},
      {Uint("llama.block_count", 0), "'llama.block_count' holds 0, expected an integer from 1 to 1000"},
      {Uint("llama.block_count", 4000000000), "'llama.block_count' holds 4000000000"},
      {String("llama.block_count", "1"), "'llama.block_count' holds a string, expected an integer"},
      {Uint("llama.context_length", 0), "'llama.context_length' holds 0"},
      {Uint("llama.embedding_length", 0), "'llama.embedding_length' holds 0"},
      {Uint("llama.embedding_length", 1u << 31), "'llama.embedding_length' holds 2147483648"},
      {Uint("llama.feed_forward_length", 1u << 31), "'llama.feed_forward_length' holds"},
      {Uint("llama.attention.head_count", 0), "'llama.attention.head_count' holds 0"},
      {[](GgufWriter& w) {
         w.SetUint32("llama.attention.head_count", 4096);
         w.SetUint32("llama.attention.key_length", 1024);
       },
       "'llama.attention.head_count' holds 4096 with heads of 1024 dimensions, expected a product of at most 65536"},
      {[](GgufWriter& w) { w.SetInt32s("llama.attention.head_count", {2}); }, "holds an array of integers"},
      {Uint("llama.attention.head_count_kv", 3),
       "'llama.attention.head_count_kv' holds 3, expected an integer from 1 to 2"},
      {[](GgufWriter& w) {
         w.SetUint32("llama.attention.head_count", 3);
         w.SetUint32("llama.attention.head_count_kv", 2);
       },
       "'llama.attention.head_count_kv' holds 2, expected a divisor of the 3 heads"},
      {[](GgufWriter& w) {
         w.SetUint32("llama.attention.head_count", 3);
         w.RemoveKey("llama.attention.key_length");
       },
       "'llama.attention.head_count' holds 3, expected one that divides the width 32"},
      {Uint("llama.attention.key_length", 15), "'llama.attention.key_length' holds 15, expected an even number"},
      {Uint("llama.attention.key_length", 2048), "'llama.attention.key_length' holds 2048"},
      {Uint("llama.attention.value_length", 32), "'llama.attention.value_length' holds 32, expected 16"},
      {Without("llama.attention.layer_norm_rms_epsilon"), "'llama.attention.layer_norm_rms_epsilon' is missing"},
      {Float("llama.attention.layer_norm_rms_epsilon", nan), "layer_norm_rms_epsilon' holds nan"},
      {Float("llama.attention.layer_norm_rms_epsilon", -1), "layer_norm_rms_epsilon' holds -1"},
      {Uint("llama.rope.dimension_count", 7), "'llama.rope.dimension_count' holds 7, expected an even number"},
      {Uint("llama.rope.dimension_count", 32),
       "'llama.rope.dimension_count' holds 32, expected an integer from 2 to 16"},
      {Float("llama.rope.freq_base", 0), "'llama.rope.freq_base' holds 0"},
      {Float("llama.rope.freq_base", nan), "'llama.rope.freq_base' holds nan"},
      {String("llama.rope.scaling.type", "longrope"), "'longrope', which is not supported: none, linear and yarn are"},
      {String("llama.rope.scaling.type", "yarn"), "'llama.rope.scaling.type' holds 'yarn', but"},
      {Float("llama.rope.scaling.factor", 0.5), "'llama.rope.scaling.factor' holds 0.5"},
      {Float("llama.rope.scaling.factor", nan), "'llama.rope.scaling.factor' holds nan"},
      {Float("llama.rope.scaling.attn_factor", 2), "'llama.rope.scaling.attn_factor' holds 2: only 1 is supported"},
      {Float("llama.rope.scaling.yarn_ext_factor", 0), "'llama.rope.scaling.yarn_ext_factor' holds 0: only 1"},
      {Uint("llama.attention.sliding_window", 128), "'llama.attention.sliding_window' holds 128, shorter than"},
      {Uint("llama.expert_count", 8), "'llama.expert_count' holds 8: only 0 is supported"},
      {Float("llama.logit_scale", 2), "'llama.logit_scale' holds 2: only 1 is supported"},
      {Bool("llama.attention.causal", false), "'llama.attention.causal' holds false: only true is supported"},
      {Bool("llama.use_parallel_residual", true), "'llama.use_parallel_residual' holds true"},
  };
  for (const Refusal& refusal : refusals) {
    const auto config = Config(refusal.change);
    ASSERT_FALSE(config.ok()) << refusal.message;
    EXPECT_THAT(Message(config.status()), HasSubstr("m.gguf: "));
    EXPECT_THAT(Message(config.status()), HasSubstr(refusal.message));
  }
}

TEST(ModelConfigTest, AcceptsKeysThatChangeNothing) {
  for (const Change& change : {Uint("llama.attention.sliding_window", 256), Uint("llama.attention.sliding_window", 0),
                               Uint("llama.expert_count", 0), Bool("llama.attention.causal", true),
                               Uint("llama.attention.value_length", 16), Float("llama.something.else", 3)}) {
    EXPECT_TRUE(Config(change).ok()) << Config(change).status();
  }
}

}  // namespace
}  // namespace longhaul
