#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

#include "engine/backend/cpu/attention/attention.h"
#include "engine/backend/cpu/attention/kv_cache.h"
#include "engine/backend/cpu/half.h"
#include "engine/backend/cpu/worker_pool.h"
#include "engine/position/plan_angles.h"
#include "engine/position/rotary_plan.h"
#include "gtest/gtest.h"
#include "tests/engine/backend/cpu/each_instruction_set.h"
#include "tests/support/hand_batch.h"

// What the tests of attention share: rows that are read in steps of any shape, and a reference in plain code.
namespace longhaul::cpu {

struct Geometry {
  int64_t n_heads, n_kv_heads, head_dim, rotary_dims;
  CacheType type;

  int64_t QkvWidth() const { return (n_heads + 2 * n_kv_heads) * head_dim; }
  int64_t OutWidth() const { return n_heads * head_dim; }
};

inline std::vector<float> RandomQkv(const Geometry& g, int64_t n_tokens, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 1.5f);
  std::vector<float> qkv(static_cast<size_t>(n_tokens * g.QkvWidth()));
  for (float& x : qkv) x = normal(random);
  return qkv;
}

inline RotaryPlan Plan(const Geometry& g, double base, double query_scale) {
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
  static constexpr int64_t kPositions = 2048, kBlocks = 400, kMaxTokens = kBlocks * kBlockTokens;

  // make_angles: none for those of the rows' plans.
  Reader(const Geometry& geometry, int threads, Attention::MakeAngles make_angles = nullptr)
      : geometry_(geometry), pool_(threads) {
    const CacheShape shape{
        .n_layers = 2,
        .n_heads = geometry.n_heads,
        .n_kv_heads = geometry.n_kv_heads,
        .head_dim = geometry.head_dim,
    };
    CacheGeometry blocks = PlanCache(shape, geometry.type, INT64_MAX).value();
    blocks.n_blocks = kBlocks;
    cache_ = std::move(KvCache::Create(shape, blocks, geometry.type).value());
    // What nobody has written is not a number in any type.
    std::memset(cache_->Page(0, 0), 0xff, static_cast<size_t>(cache_->block_bytes() * kBlocks));
    attention_ = make_angles ? std::make_unique<Attention>(*cache_, kMaxTokens, pool_, std::move(make_angles))
                             : std::make_unique<Attention>(*cache_, kMaxTokens, pool_);
    free_.resize(kBlocks);
    std::iota(free_.begin(), free_.end(), 0);
    std::shuffle(free_.begin(), free_.end(), std::mt19937(1));
  }

  // A row whose tokens will be `qkv`; returns its index.
  size_t AddRow(std::vector<float> qkv, const RotaryPlan& plan) {
    Row& row = rows_.emplace_back();
    row.plan = std::make_shared<const RotaryPlan>(plan);
    row.qkv = std::move(qkv);
    const int64_t n_tokens = static_cast<int64_t>(row.qkv.size()) / geometry_.QkvWidth();
    while (static_cast<int64_t>(row.blocks.size()) < BlocksFor(n_tokens)) row.blocks.push_back(TakeBlock());
    while (static_cast<int64_t>(row.ring.size()) < cache_->geometry().RingBlocks(plan, n_tokens))
      row.ring.push_back(TakeBlock());
    return rows_.size() - 1;
  }

  // As if the row's blocks had come out of a cache: its ring is lost.
  void LoseRing(size_t row) {
    rows_[row].ring_ready = false;
    for (BlockId block : rows_[row].ring) {
      std::memset(cache_->Page(0, block), 0xff, static_cast<size_t>(cache_->block_bytes()));
    }
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
      const std::vector<TokenId> tokens(static_cast<size_t>(n_new));
      AddGroup(batch, {{tokens, row.length, row.blocks, row.ring, row.ring_ready, row.plan}});
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
      rows_[index].ring_ready = true;
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
    std::shared_ptr<const RotaryPlan> plan;
    std::vector<float> qkv, out;
    std::vector<BlockId> blocks, ring;
    bool ring_ready = false;
    int64_t length = 0;
  };

  BlockId TakeBlock() {
    const BlockId block = free_.back();
    free_.pop_back();
    return block;
  }

  Geometry geometry_;
  WorkerPool pool_;
  std::unique_ptr<KvCache> cache_;
  std::unique_ptr<Attention> attention_;
  std::vector<BlockId> free_;
  std::vector<Row> rows_;
};

// The same in plain code and double precision, from keys and values that are rounded as the cache rounds them: every
// query once for each regime, every key twice where there are near ones, and every score by the key's regime.
class Reference {
 public:
  Reference(const Geometry& g, const std::vector<float>& qkv, std::shared_ptr<const PlanAngles> angles)
      : g_(g), angles_(std::move(angles)), stored_(qkv) {
    const int64_t n_tokens = static_cast<int64_t>(qkv.size()) / g.QkvWidth();
    const int64_t keys = g.n_heads, values = g.n_heads + g.n_kv_heads, end = values + g.n_kv_heads;
    std::vector<float> cosines(static_cast<size_t>(angles_->pairs())), sines(cosines);
    const auto turn = [&](std::vector<float>& all, int64_t token, int64_t first_head, int64_t end_head) {
      float* const heads = &all[static_cast<size_t>(token * g.QkvWidth())];
      for (int64_t head = first_head; head < end_head; ++head) Turn(cosines, sines, heads + head * g.head_dim);
    };
    const auto round = [&](std::vector<float>& all, int64_t token, int64_t first_head, int64_t end_head) {
      float* const heads = &all[static_cast<size_t>(token * g.QkvWidth())];
      Round(heads + first_head * g.head_dim, heads + end_head * g.head_dim);
    };
    for (int regime = 0; regime < angles_->n_regimes(); ++regime) {
      queries_.push_back(qkv);
      for (int64_t t = 0; t < n_tokens; ++t) {
        angles_->Query(regime, t, cosines.data(), sines.data());
        turn(queries_.back(), t, 0, keys);
      }
    }
    for (int64_t t = 0; t < n_tokens; ++t) {
      if (angles_->turns_stored_keys()) {
        angles_->StoredKey(t, cosines.data(), sines.data());
        turn(stored_, t, keys, values);
      }
      round(stored_, t, keys, end);
    }
    near_ = stored_;
    for (int64_t t = 0; t < n_tokens && angles_->has_near_keys(); ++t) {
      angles_->NearKey(t, cosines.data(), sines.data());
      turn(near_, t, keys, values);
      round(near_, t, keys, values);
    }
  }

  double Out(int64_t token, int64_t head, int64_t dim) {
    if (token != token_ || head != head_) FindWeights(token, head);
    double sum = 0;
    for (int64_t j = 0; j <= token; ++j) {
      sum += weights_[static_cast<size_t>(j)] * At(stored_, j, g_.n_heads + g_.n_kv_heads + KvHead(head), dim);
    }
    return sum / weight_sum_;
  }

 private:
  void Turn(const std::vector<float>& cosines, const std::vector<float>& sines, float* head) const {
    const auto pairs = cosines.size();
    for (size_t i = 0; i < pairs; ++i) {
      const float x = head[i], y = head[i + pairs];
      head[i] = MulAdd(-y, sines[i], x * cosines[i]);
      head[i + pairs] = MulAdd(x, sines[i], y * cosines[i]);
    }
  }

  // Portable code has no fused multiply-add; the rounding to 16 bits would tell.
  static float MulAdd(float a, float b, float c) {
    return ActiveInstructionSet() == InstructionSet::kPortable ? a * b + c : std::fma(a, b, c);
  }

  void Round(float* begin, float* end) const {
    for (float* x = begin; x < end; ++x) {
      if (g_.type == CacheType::kBf16) *x = Bfloat16ToFloat(FloatToBfloat16(*x));
      if (g_.type == CacheType::kF16) *x = HalfToFloat(FloatToHalf(*x));
    }
  }

  int64_t KvHead(int64_t head) const { return head / (g_.n_heads / g_.n_kv_heads); }

  double At(const std::vector<float>& qkv, int64_t token, int64_t head, int64_t dim) const {
    return static_cast<double>(qkv[static_cast<size_t>(token * g_.QkvWidth() + head * g_.head_dim + dim)]);
  }

  void FindWeights(int64_t token, int64_t head) {
    token_ = token;
    head_ = head;
    weights_.assign(static_cast<size_t>(token + 1), 0);
    const double scale = angles_->QueryScale(token) / std::sqrt(static_cast<double>(g_.head_dim));
    for (int64_t j = 0; j <= token; ++j) {
      size_t regime = 0;
      while (j < angles_->FirstKey(static_cast<int>(regime), token)) ++regime;
      const std::vector<float>& keys = regime == 0 ? near_ : stored_;
      double& score = weights_[static_cast<size_t>(j)];
      for (int64_t i = 0; i < g_.head_dim; ++i) {
        score += At(queries_[regime], token, head, i) * At(keys, j, g_.n_heads + KvHead(head), i);
      }
      score *= scale;
    }
    const double max = *std::max_element(weights_.begin(), weights_.end());
    for (double& weight : weights_) weight = std::exp(weight - max);
    weight_sum_ = std::accumulate(weights_.begin(), weights_.end(), 0.0);
  }

  Geometry g_;
  std::shared_ptr<const PlanAngles> angles_;
  std::vector<std::vector<float>> queries_;  // of each regime: qkv with queries that are turned
  std::vector<float> stored_, near_;         // qkv with keys that are turned; near_ for regime 0
  int64_t token_ = -1, head_ = -1;
  std::vector<double> weights_;
  double weight_sum_ = 0;
};

// The largest error over the tokens at which something begins or ends, and every 13th.
inline double LargestError(const Geometry& g, const std::vector<float>& qkv, std::shared_ptr<const PlanAngles> angles,
                           const std::vector<float>& out) {
  Reference reference(g, qkv, std::move(angles));
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

inline double LargestError(const Geometry& g, const std::vector<float>& qkv, const RotaryPlan& plan,
                           const std::vector<float>& out) {
  return LargestError(g, qkv, std::make_shared<const PlanAngles>(plan, Reader::kPositions), out);
}

// Shorter where the code is slow; past one border of a range, or past two.
inline int64_t LongLength() {
  return ActiveInstructionSet() == InstructionSet::kPortable ? 600 : 1100;
}

}  // namespace longhaul::cpu
