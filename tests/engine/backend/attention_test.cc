#include "engine/backend/cpu/attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

#include "engine/backend/cpu/half.h"
#include "engine/backend/cpu/kv_cache.h"
#include "engine/backend/cpu/worker_pool.h"
#include "engine/position/rotary_plan.h"
#include "engine/position/rotary_table.h"
#include "gtest/gtest.h"
#include "tests/engine/backend/each_instruction_set.h"

namespace longhaul::cpu {
namespace {

struct Geometry {
  int64_t n_heads, n_kv_heads, head_dim, rotary_dims;
  CacheType type;

  int64_t QkvWidth() const { return (n_heads + 2 * n_kv_heads) * head_dim; }
  int64_t OutWidth() const { return n_heads * head_dim; }
};

std::vector<float> RandomQkv(const Geometry& g, int64_t n_tokens, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 1.5f);
  std::vector<float> qkv(static_cast<size_t>(n_tokens * g.QkvWidth()));
  for (float& x : qkv) x = normal(random);
  return qkv;
}

RotaryPlan Plan(const Geometry& g, double base, double query_scale) {
  RotaryPlan plan;
  for (int64_t i = 0; i < g.rotary_dims / 2; ++i) {
    plan.inv_freq.push_back(std::pow(base, -2.0 * static_cast<double>(i) / static_cast<double>(g.rotary_dims)));
  }
  plan.query_scale = query_scale;
  SetFingerprint(plan);
  return plan;
}

// Reads rows in steps of any shape, as the engine would.
class Reader {
 public:
  static constexpr int64_t kPositions = 2048, kBlocks = 400;

  Reader(const Geometry& geometry, int threads) : geometry_(geometry), pool_(threads) {
    const CacheShape shape{.n_layers = 2,
                           .n_heads = geometry.n_heads,
                           .n_kv_heads = geometry.n_kv_heads,
                           .head_dim = geometry.head_dim,
                           .n_blocks = kBlocks,
                           .max_positions = kPositions};
    cache_ = std::move(KvCache::Create(shape, geometry.type).value());
    // What nobody has written is not a number in any type.
    std::memset(cache_->Page(0, 0), 0xff, static_cast<size_t>(cache_->block_bytes() * kBlocks));
    attention_ = std::make_unique<Attention>(*cache_, pool_);
    free_.resize(kBlocks);
    std::iota(free_.begin(), free_.end(), 0);
    std::shuffle(free_.begin(), free_.end(), std::mt19937(1));
  }

  // A row whose tokens will be `qkv`; returns its index.
  size_t AddRow(std::vector<float> qkv, const RotaryPlan& plan) {
    Row& row = rows_.emplace_back();
    row.plan = &plan;
    row.qkv = std::move(qkv);
    const int64_t n_tokens = static_cast<int64_t>(row.qkv.size()) / geometry_.QkvWidth();
    for (int64_t b = 0; b * kBlockTokens < n_tokens; ++b) {
      row.blocks.push_back(free_.back());
      free_.pop_back();
    }
    return rows_.size() - 1;
  }

  int64_t Left(size_t row) const {
    return static_cast<int64_t>(rows_[row].qkv.size()) / geometry_.QkvWidth() - rows_[row].length;
  }

  // One step: (row, new tokens) each.
  void Step(const std::vector<std::pair<size_t, int64_t>>& work) {
    Batch batch;
    std::vector<float> qkv;
    for (const auto& [index, n_new] : work) {
      Row& row = rows_[index];
      batch.plans.push_back(row.plan);
      batch.rows.push_back({.block_table = row.blocks,
                            .length = row.length,
                            .n_new = n_new,
                            .first_token = batch.n_tokens(),
                            .plan = static_cast<int>(batch.plans.size()) - 1,
                            .first_logit = n_new});
      batch.tokens.resize(batch.tokens.size() + static_cast<size_t>(n_new));
      const auto begin = row.qkv.begin() + row.length * geometry_.QkvWidth();
      qkv.insert(qkv.end(), begin, begin + n_new * geometry_.QkvWidth());
    }
    attention_->BeginStep(batch);
    std::vector<float> out(static_cast<size_t>(batch.n_tokens() * geometry_.OutWidth()), NAN);
    attention_->Run(1, qkv.data(), out.data());
    auto next = out.begin();
    for (const auto& [index, n_new] : work) {
      rows_[index].out.insert(rows_[index].out.end(), next, next + n_new * geometry_.OutWidth());
      rows_[index].length += n_new;
      next += n_new * geometry_.OutWidth();
    }
  }

  // The whole row, at most `chunk` tokens a step.
  const std::vector<float>& ReadAll(size_t row, int64_t chunk) {
    while (Left(row) > 0) Step({{row, std::min(chunk, Left(row))}});
    return rows_[row].out;
  }

  const std::vector<float>& Out(size_t row) const { return rows_[row].out; }

 private:
  struct Row {
    const RotaryPlan* plan;
    std::vector<float> qkv, out;
    std::vector<BlockId> blocks;
    int64_t length = 0;
  };

  Geometry geometry_;
  WorkerPool pool_;
  std::unique_ptr<KvCache> cache_;
  std::unique_ptr<Attention> attention_;
  std::vector<BlockId> free_;
  std::vector<Row> rows_;
};

// The same in plain code and double precision, from keys and values that are rounded as the cache rounds them.
class Reference {
 public:
  Reference(const Geometry& g, const std::vector<float>& qkv, const RotaryPlan& plan)
      : g_(g), qkv_(qkv), scale_(plan.query_scale / std::sqrt(static_cast<double>(g.head_dim))) {
    const RotaryTable table(plan.inv_freq, Reader::kPositions);
    const int64_t n_tokens = static_cast<int64_t>(qkv.size()) / g.QkvWidth(), pairs = g.rotary_dims / 2;
    std::vector<float> cosines(static_cast<size_t>(pairs)), sines(cosines);
    for (int64_t t = 0; t < n_tokens; ++t) {
      table.Angles(t, cosines.data(), sines.data());
      float* const token = &qkv_[static_cast<size_t>(t * g.QkvWidth())];
      float* const keys = token + g.n_heads * g.head_dim;
      float* const values = keys + g.n_kv_heads * g.head_dim;
      for (float* head = token; head < values; head += g.head_dim) {
        for (int64_t i = 0; i < pairs; ++i) {
          const float c = cosines[static_cast<size_t>(i)], s = sines[static_cast<size_t>(i)];
          const float x = head[i], y = head[i + pairs];
          head[i] = MulAdd(-y, s, x * c);
          head[i + pairs] = MulAdd(x, s, y * c);
        }
      }
      for (float* x = keys; x < token + g.QkvWidth(); ++x) *x = Rounded(*x);
    }
  }

  double Out(int64_t token, int64_t head, int64_t dim) {
    if (token != token_ || head != head_) FindWeights(token, head);
    double sum = 0;
    for (int64_t j = 0; j <= token; ++j) {
      sum += weights_[static_cast<size_t>(j)] * At(j, g_.n_heads + g_.n_kv_heads + KvHead(head), dim);
    }
    return sum / weight_sum_;
  }

 private:
  // Portable code has no fused multiply-add; the rounding to 16 bits would tell.
  static float MulAdd(float a, float b, float c) {
    return ActiveInstructionSet() == InstructionSet::kPortable ? a * b + c : std::fma(a, b, c);
  }

  float Rounded(float x) const {
    if (g_.type == CacheType::kBf16) return Bfloat16ToFloat(FloatToBfloat16(x));
    if (g_.type == CacheType::kF16) return HalfToFloat(FloatToHalf(x));
    return x;
  }

  int64_t KvHead(int64_t head) const { return head / (g_.n_heads / g_.n_kv_heads); }

  double At(int64_t token, int64_t head, int64_t dim) const {
    return static_cast<double>(qkv_[static_cast<size_t>(token * g_.QkvWidth() + head * g_.head_dim + dim)]);
  }

  void FindWeights(int64_t token, int64_t head) {
    token_ = token;
    head_ = head;
    weights_.assign(static_cast<size_t>(token + 1), 0);
    for (int64_t j = 0; j <= token; ++j) {
      double& score = weights_[static_cast<size_t>(j)];
      for (int64_t i = 0; i < g_.head_dim; ++i) score += At(token, head, i) * At(j, g_.n_heads + KvHead(head), i);
      score *= scale_;
    }
    const double max = *std::max_element(weights_.begin(), weights_.end());
    for (double& weight : weights_) weight = std::exp(weight - max);
    weight_sum_ = std::accumulate(weights_.begin(), weights_.end(), 0.0);
  }

  Geometry g_;
  std::vector<float> qkv_;
  double scale_;
  int64_t token_ = -1, head_ = -1;
  std::vector<double> weights_;
  double weight_sum_ = 0;
};

// The largest error over the tokens at which something begins or ends, and every 13th.
double LargestError(const Geometry& g, const std::vector<float>& qkv, const RotaryPlan& plan,
                    const std::vector<float>& out) {
  Reference reference(g, qkv, plan);
  double largest = 0;
  const int64_t n_tokens = static_cast<int64_t>(qkv.size()) / g.QkvWidth();
  EXPECT_EQ(static_cast<int64_t>(out.size()), n_tokens * g.OutWidth());
  for (int64_t t = 0; t < n_tokens; ++t) {
    const int64_t in_range = t % 512;
    if (t > 33 && in_range > 1 && in_range < 510 && t % 37 != 0 && t != n_tokens - 1) continue;
    for (int64_t head = 0; head < g.n_heads; ++head) {
      for (int64_t i = 0; i < g.head_dim; ++i) {
        const float x = out[static_cast<size_t>(t * g.OutWidth() + head * g.head_dim + i)];
        const double error = std::abs(static_cast<double>(x) - reference.Out(t, head, i));
        if (!(error <= largest)) largest = error;  // NaN too
      }
    }
  }
  return largest;
}

using AttentionTest = EachInstructionSet;
INSTANTIATE_TEST_SUITE_P(, AttentionTest, testing::ValuesIn(AvailableInstructionSets()), InstructionSetTestName);

// Shorter where the code is slow; past one border of a range, or past two.
int64_t LongLength() {
  return ActiveInstructionSet() == InstructionSet::kPortable ? 600 : 1100;
}

TEST_P(AttentionTest, IsThatOfDoublesInRaggedBatches) {
  const Geometry geometries[] = {
      {9, 3, 64, 64, CacheType::kF32},  {9, 3, 64, 64, CacheType::kBf16},  {9, 3, 64, 32, CacheType::kF16},
      {8, 1, 80, 80, CacheType::kBf16}, {2, 2, 128, 128, CacheType::kF16}, {2, 2, 128, 64, CacheType::kF32},
      {4, 2, 20, 12, CacheType::kF32},  {100, 1, 4, 4, CacheType::kF16},
  };
  for (const Geometry& g : geometries) {
    SCOPED_TRACE(testing::Message() << g.n_heads << " heads of " << g.n_kv_heads << ", head_dim " << g.head_dim
                                    << ", cache " << static_cast<int>(g.type));
    const RotaryPlan plans[] = {Plan(g, 10000, 1), Plan(g, 500000, 1.3)};
    Reader reader(g, 2);
    std::vector<std::vector<float>> rows;
    std::vector<std::pair<size_t, int64_t>> all;
    for (int64_t length : {int64_t{1}, int64_t{17}, LongLength(), int64_t{30}, int64_t{513}}) {
      rows.push_back(RandomQkv(g, length, static_cast<uint32_t>(length)));
      const size_t row = reader.AddRow(rows.back(), plans[rows.size() % 2]);
      all.emplace_back(row, length);
    }
    reader.Step(all);
    for (size_t row = 0; row < rows.size(); ++row) {
      EXPECT_LT(LargestError(g, rows[row], plans[(row + 1) % 2], reader.Out(row)), 1e-5) << "row " << row;
    }
  }
}

TEST_P(AttentionTest, IsTheSameToTheBitHoweverARowIsRead) {
  const Geometry geometries[] = {{9, 3, 64, 48, CacheType::kF32},
                                 {9, 3, 64, 48, CacheType::kBf16},
                                 {2, 2, 20, 20, CacheType::kF16},
                                 {8, 1, 80, 80, CacheType::kF16}};
  for (const Geometry& g : geometries) {
    SCOPED_TRACE(testing::Message() << "head_dim " << g.head_dim << ", cache " << static_cast<int>(g.type));
    const RotaryPlan plan = Plan(g, 10000, 1), other = Plan(g, 20000, 2);
    const std::vector<float> qkv = RandomQkv(g, LongLength(), 7);
    Reader one_shot(g, 1);
    const std::vector<float> expected = one_shot.ReadAll(one_shot.AddRow(qkv, plan), LongLength());

    for (int threads : {2, 3}) {
      Reader reader(g, threads);
      EXPECT_EQ(reader.ReadAll(reader.AddRow(qkv, plan), LongLength()), expected) << threads << " threads";
    }
    for (int64_t chunk : {1, 7, 64}) {
      Reader reader(g, 2);
      EXPECT_EQ(reader.ReadAll(reader.AddRow(qkv, plan), chunk), expected) << "chunks of " << chunk;
    }
    Reader reader(g, 2);
    const size_t row = reader.AddRow(qkv, plan);
    std::mt19937 random(3);
    while (reader.Left(row) > 0) {
      std::vector<std::pair<size_t, int64_t>> work;
      for (int mate = 0; mate < 3; ++mate) {
        const int64_t length = 1 + static_cast<int64_t>(random() % 20);
        work.emplace_back(reader.AddRow(RandomQkv(g, length, static_cast<uint32_t>(random())), other), length);
      }
      const int64_t n = std::min(reader.Left(row), 1 + static_cast<int64_t>(random() % 150));
      work.insert(work.begin() + 1, {row, n});
      reader.Step(work);
    }
    EXPECT_EQ(reader.Out(row), expected) << "with batch mates";
  }
}

TEST(KvCacheTest, RefusesWhatDoesNotFit) {
  const CacheShape good{
      .n_layers = 2, .n_heads = 4, .n_kv_heads = 2, .head_dim = 64, .n_blocks = 4, .max_positions = 64};
  ASSERT_TRUE(KvCache::Create(good, CacheType::kBf16).ok());
  EXPECT_EQ(CacheBlockBytes(good, CacheType::kBf16), 2 * 2 * 2 * 64 * 16 * 2);
  EXPECT_EQ(CacheBlockBytes(good, CacheType::kF32), 2 * CacheBlockBytes(good, CacheType::kF16));
  const auto code = [&](auto change) {
    CacheShape shape = good;
    change(shape);
    return KvCache::Create(shape, CacheType::kF32).status().code();
  };
  EXPECT_EQ(code([](CacheShape& s) { s.n_layers = INT64_MAX / 2; }), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(code([](CacheShape& s) { s.n_layers = int64_t{1} << 40; }), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(code([](CacheShape& s) { s.n_kv_heads = 3; }), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code([](CacheShape& s) { s.head_dim = 63; }), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code([](CacheShape& s) { s.head_dim = 1 << 20; }), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code([](CacheShape& s) { s.n_blocks = 0; }), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace longhaul::cpu
