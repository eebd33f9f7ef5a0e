#include "engine/backend/checked_backend.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "engine/backend/cpu/cpu_backend.h"
#include "tests/support/hand_batch.h"

namespace longhaul {
namespace {

constexpr int64_t kWidth = 32, kVocabulary = 8;
constexpr CacheShape kShape{.n_layers = 1, .n_heads = 2, .n_kv_heads = 1, .head_dim = 4};

HostTensor Tensor(int64_t rows, int64_t columns) {
  static const std::vector<float> zeros(4096);
  HostTensor tensor;
  tensor.name = "blk.3.attn_k.weight";
  tensor.rows = rows;
  tensor.columns = columns;
  tensor.data = reinterpret_cast<const std::byte*>(zeros.data());
  return tensor;
}

class CheckedBackendTest : public ::testing::Test {
 protected:
  void SetUp() override {
    table_ = backend_.PackEmbedding(Tensor(kVocabulary, kWidth)).value();
    const HostTensor vector = Tensor(1, kWidth), parts[] = {Tensor(1, 12), Tensor(1, 4)};
    norm_ = backend_.PackVector({&vector, 1}).value();
    head_norm_ = backend_.PackVector({&parts[1], 1}).value();
    bias_ = backend_.PackVector(parts).value();
    const HostTensor qkv = Tensor(16, kWidth);
    qkv_matrix_ = backend_.PackMatrix({&qkv, 1}).value();
    hidden_ = backend_.AllocateActivation(2, kWidth).value();
    qkv_ = backend_.AllocateActivation(2, 16).value();
    attended_ = backend_.AllocateActivation(2, 8).value();
  }
  void AllocateCache() {
    const CacheGeometry geometry = backend_.PlanCache(kShape, 1 << 16).value();
    ASSERT_TRUE(backend_.AllocateCache(kShape, geometry, {}).ok());
  }

  void ExpectRefused(const std::vector<HostTensor>& parts, const std::string& why) {
    const auto packed = backend_.PackMatrix(parts);
    EXPECT_EQ(packed.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_NE(std::string(packed.status().message()).find(why), std::string::npos) << packed.status();
  }

  // What Collect says of a step of one token that `work` is the operations of.
  template <typename Work>
  absl::Status Step(Work work) {
    const std::vector<TokenId> tokens = {3};
    const std::vector<BlockId> blocks = {0};
    Batch batch;
    AddGroup(batch, {{.tokens = tokens, .blocks = blocks, .plan = std::make_shared<const RotaryPlan>()}});
    EXPECT_TRUE(backend_.BeginStep(batch).ok());
    work();
    return backend_.Collect(backend_.EndStep()).status();
  }
  void ExpectMistake(const absl::Status& status, const std::string& what) {
    EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
    EXPECT_NE(std::string(status.message()).find(what), std::string::npos) << status;
  }

  CheckedBackend backend_{CreateCpuBackend({}).value()};
  WeightId table_{}, norm_{}, head_norm_{}, bias_{}, qkv_matrix_{};
  ActivationId hidden_{}, qkv_{}, attended_{};
};

TEST_F(CheckedBackendTest, RefusesTensorsThatDoNotFitAndNamesThem) {
  ExpectRefused({}, "no tensors");
  ExpectRefused({Tensor(4, 64), Tensor(4, 32)}, "'blk.3.attn_k.weight' has 32 columns");
  HostTensor cut = Tensor(2, 128);
  cut.type = TensorType::kQ4_K;
  ExpectRefused({cut}, "no multiple");
  HostTensor order = Tensor(4, 64);
  order.row_order = {0, 1, 2};
  ExpectRefused({order}, "row order");
  order.row_order = {0, 1, 2, 4};
  ExpectRefused({order}, "row 4");
  order.row_order = {0, 1, 2, -1};
  ExpectRefused({order}, "row -1");
  HostTensor one_row = Tensor(1, 4);
  one_row.row_order = {3, 2, 1, 0};  // as of a vector
  ExpectRefused({one_row}, "row order");
  EXPECT_FALSE(backend_.PackEmbedding(one_row).ok());
  EXPECT_TRUE(backend_.PackVector({&one_row, 1}).ok());
  ExpectRefused({Tensor(0, 64)}, "empty");
  const HostTensor two_rows[] = {Tensor(1, 32), Tensor(2, 32)};
  EXPECT_EQ(backend_.PackVector(two_rows).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(backend_.PackVector({}).status().code(), absl::StatusCode::kInvalidArgument);
  HostTensor vector = Tensor(1, 4);
  vector.row_order = {0, 1, 2, 4};
  EXPECT_EQ(backend_.PackVector({&vector, 1}).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(backend_.AllocateActivation(1, 0).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(backend_.vocabulary_size(), kVocabulary);
}

TEST_F(CheckedBackendTest, AStepNeedsACacheAndThereIsOne) {
  Batch batch;
  EXPECT_EQ(backend_.BeginStep(batch).code(), absl::StatusCode::kFailedPrecondition);
  AllocateCache();
  EXPECT_EQ(backend_.AllocateCache(kShape, {}, {}).code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(CheckedBackendTest, OperationsWhoseShapesDoNotFitAreLeftOutAndCollectSaysSo) {
  AllocateCache();
  EXPECT_TRUE(Step([&] {
                backend_.Embed(table_, hidden_);
                backend_.RmsNorm(hidden_, norm_, 1e-5f, hidden_);
                backend_.Linear(hidden_, qkv_matrix_, bias_, Epilogue::kStore, qkv_);
                backend_.RmsNormSlices(qkv_, 8, 2, head_norm_, 1e-5f);
                backend_.Attention(0, qkv_, attended_);
              }).ok());
  ExpectMistake(Step([&] { backend_.Embed(table_, qkv_); }), "Embed");
  ExpectMistake(Step([&] { backend_.Embed(norm_, hidden_); }), "Embed");
  ExpectMistake(Step([&] {
                  backend_.Embed(table_, hidden_);
                  backend_.RmsNorm(hidden_, table_, 1e-5f, hidden_);
                }),
                "RmsNorm");
  ExpectMistake(Step([&] { backend_.Linear(qkv_, qkv_matrix_, {}, Epilogue::kStore, hidden_); }), "Linear");
  ExpectMistake(Step([&] {
                  backend_.Embed(table_, hidden_);
                  backend_.Linear(hidden_, qkv_matrix_, norm_, Epilogue::kStore, qkv_);
                }),
                "Linear: bias");
  ExpectMistake(Step([&] { backend_.RmsNormSlices(qkv_, 9, 2, head_norm_, 1e-5f); }), "RmsNormSlices");
  ExpectMistake(Step([&] { backend_.RmsNormSlices(qkv_, 0, 1, norm_, 1e-5f); }), "RmsNormSlices");
  ExpectMistake(Step([&] { backend_.Attention(1, qkv_, attended_); }), "layer");
  ExpectMistake(Step([&] { backend_.SwiGlu(qkv_, hidden_); }), "SwiGlu");
  ExpectMistake(Step([&] { backend_.ChooseTokens(hidden_); }), "ChooseTokens");
  EXPECT_TRUE(Step([&] { backend_.Embed(table_, hidden_); }).ok()) << "a mistake is of its step alone";
}

}  // namespace
}  // namespace longhaul
