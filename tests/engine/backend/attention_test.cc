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
#include "engine/position/plan_angles.h"
#include "engine/position/position_resolver.h"
#include "engine/position/rotary_plan.h"
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

RotaryPlan TwoRegimes(const Geometry& g, const FarRegime& far, std::optional<LogN> log_n = std::nullopt) {
  RotaryPlan plan = Plan(g, 10000, 1);
  plan.far = far;
  plan.log_n = log_n;
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
    while (static_cast<int64_t>(row.blocks.size()) < BlocksFor(n_tokens)) row.blocks.push_back(TakeBlock());
    while (static_cast<int64_t>(row.ring.size()) < RingBlocks(plan, n_tokens)) row.ring.push_back(TakeBlock());
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
      batch.plans.push_back(row.plan);
      batch.rows.push_back({.block_table = row.blocks,
                            .ring_table = row.ring,
                            .ring_ready = row.ring_ready,
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
    const RotaryPlan* plan;
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
// key twice, near and far, and every score by its distance.
class Reference {
 public:
  Reference(const Geometry& g, const std::vector<float>& qkv, const RotaryPlan& plan)
      : g_(g), angles_(plan, Reader::kPositions), near_(qkv), far_(qkv) {
    const int64_t n_tokens = static_cast<int64_t>(qkv.size()) / g.QkvWidth();
    const auto turn = [&](int64_t first_head, int64_t end_head, float* token, auto find) {
      std::vector<float> cosines(static_cast<size_t>(angles_.pairs())), sines(cosines);
      find(cosines.data(), sines.data());
      for (int64_t head = first_head; head < end_head; ++head) Turn(cosines, sines, token + head * g_.head_dim);
    };
    for (int64_t t = 0; t < n_tokens; ++t) {
      float* const near = &near_[static_cast<size_t>(t * g.QkvWidth())];
      float* const far = &far_[static_cast<size_t>(t * g.QkvWidth())];
      const int64_t keys = g.n_heads, values = g.n_heads + g.n_kv_heads, end = values + g.n_kv_heads;
      if (angles_.window() == 0) {
        turn(0, values, near, [&](float* c, float* s) { angles_.Near(t, c, s); });
        Round(near + keys * g.head_dim, near + end * g.head_dim);
        continue;
      }
      turn(0, keys, near, [&](float* c, float* s) { angles_.Near(t, c, s); });
      turn(0, keys, far, [&](float* c, float* s) { angles_.FarQuery(t, c, s); });
      if (angles_.turns_stored_keys()) {
        turn(keys, values, far, [&](float* c, float* s) { angles_.StoredKey(t, c, s); });
      }
      Round(far + keys * g.head_dim, far + end * g.head_dim);
      std::copy(far + keys * g.head_dim, far + end * g.head_dim, near + keys * g.head_dim);
      turn(keys, values, near, [&](float* c, float* s) { angles_.NearKey(t, c, s); });
      Round(near + keys * g.head_dim, near + values * g.head_dim);
    }
  }

  double Out(int64_t token, int64_t head, int64_t dim) {
    if (token != token_ || head != head_) FindWeights(token, head);
    double sum = 0;
    for (int64_t j = 0; j <= token; ++j) {
      sum += weights_[static_cast<size_t>(j)] * At(near_, j, g_.n_heads + g_.n_kv_heads + KvHead(head), dim);
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
    const double scale = angles_.QueryScale(token) / std::sqrt(static_cast<double>(g_.head_dim));
    for (int64_t j = 0; j <= token; ++j) {
      const bool is_far = angles_.window() > 0 && token - j >= angles_.window();
      const std::vector<float>& qkv = is_far ? far_ : near_;
      double& score = weights_[static_cast<size_t>(j)];
      for (int64_t i = 0; i < g_.head_dim; ++i) {
        score += At(qkv, token, head, i) * At(qkv, j, g_.n_heads + KvHead(head), i);
      }
      score *= scale;
    }
    const double max = *std::max_element(weights_.begin(), weights_.end());
    for (double& weight : weights_) weight = std::exp(weight - max);
    weight_sum_ = std::accumulate(weights_.begin(), weights_.end(), 0.0);
  }

  Geometry g_;
  PlanAngles angles_;
  std::vector<float> near_, far_;  // of a plain plan near_ alone counts
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

// Windows at, below and above the borders of blocks, tiles and ranges; all kinds of far regimes.
std::vector<RotaryPlan> FarPlans(const Geometry& g) {
  const auto with = [&](int64_t window, int64_t divisor, bool floor, double offset, std::optional<LogN> log_n = {}) {
    return TwoRegimes(g, {window, divisor, floor, offset}, log_n);
  };
  return {with(1, 0, false, 1),
          with(16, 0, false, 16),
          with(100, 0, false, 100, LogN{64}),
          with(513, 0, false, 513),
          with(5000, 0, false, 5000),
          with(64, 8, false, 56),
          with(17, 2, false, 8.5),
          with(100, 8, true, 100 - 100 / 8.0),
          with(33, 3, true, 22)};
}

TEST_P(AttentionTest, OfTwoRegimesIsThatOfDoublesInRaggedBatches) {
  const Geometry geometries[] = {{9, 3, 64, 64, CacheType::kF32},
                                 {9, 3, 64, 32, CacheType::kBf16},
                                 {8, 1, 80, 80, CacheType::kF16},
                                 {4, 2, 20, 12, CacheType::kF32}};
  for (const Geometry& g : geometries) {
    SCOPED_TRACE(testing::Message() << "head_dim " << g.head_dim << ", cache " << static_cast<int>(g.type));
    std::vector<RotaryPlan> plans = FarPlans(g);
    plans.push_back(Plan(g, 10000, 1));
    for (size_t first = 0; first < plans.size(); first += 5) {
      Reader reader(g, 2);
      std::vector<std::vector<float>> rows;
      std::vector<std::pair<size_t, int64_t>> all;
      for (size_t i = first; i < first + 5; ++i) {
        const int64_t length = i % 2 == 0 ? 300 : LongLength();
        rows.push_back(RandomQkv(g, length, static_cast<uint32_t>(i)));
        all.emplace_back(reader.AddRow(rows.back(), plans[i]), length);
      }
      reader.Step(all);
      for (size_t i = 0; i < rows.size(); ++i) {
        EXPECT_LT(LargestError(g, rows[i], plans[first + i], reader.Out(i)), 1e-5) << "plan " << first + i;
      }
    }
  }
}

TEST_P(AttentionTest, OfTwoRegimesIsTheSameToTheBitHoweverARowIsRead) {
  const Geometry geometries[] = {
      {9, 3, 64, 48, CacheType::kF32}, {2, 2, 20, 20, CacheType::kF16}, {9, 3, 64, 64, CacheType::kBf16}};
  for (const Geometry& g : geometries) {
    for (const RotaryPlan& plan : FarPlans(g)) {
      SCOPED_TRACE(testing::Message() << "head_dim " << g.head_dim << ", window " << plan.far->window << ", divisor "
                                      << plan.far->divisor);
      const std::vector<float> qkv = RandomQkv(g, 600, 7);
      Reader one_shot(g, 1);
      const std::vector<float> expected = one_shot.ReadAll(one_shot.AddRow(qkv, plan), 600);
      for (int64_t chunk : {1, 7, 64, 130}) {
        Reader reader(g, 2);
        EXPECT_EQ(reader.ReadAll(reader.AddRow(qkv, plan), chunk), expected) << "chunks of " << chunk;
      }
      // Random chunks beside plain rows, and a ring that is lost now and then.
      Reader reader(g, 2);
      const RotaryPlan other = Plan(g, 20000, 2);
      const size_t row = reader.AddRow(qkv, plan);
      std::mt19937 random(3);
      while (reader.Left(row) > 0) {
        const int64_t n = std::min(reader.Left(row), random() % 3 == 0 ? 1 : 1 + static_cast<int64_t>(random() % 150));
        if (random() % 3 == 0) reader.LoseRing(row);
        const int64_t mate = 1 + static_cast<int64_t>(random() % 20);
        reader.Step({{reader.AddRow(RandomQkv(g, mate, static_cast<uint32_t>(random())), other), mate}, {row, n}});
      }
      EXPECT_EQ(reader.Out(row), expected) << "with lost rings";
    }
  }
}

// Any mode with any parameters, as a request might ask for it.
PositionMode RandomMode(std::mt19937& random) {
  const auto below = [&](int64_t n) { return static_cast<int64_t>(random() % static_cast<uint64_t>(n)); };
  const double factor = 1 + static_cast<double>(below(80)) / 10;
  const int64_t window = 1 + below(500);
  PositionMode mode;
  switch (below(8)) {
    case 0:
      mode.kind = position::None();
      break;
    case 1:
      mode.kind = position::BetaMixed{factor, static_cast<double>(below(11)) / 10};
      break;
    case 2:
      mode.kind = position::Yarn{factor};
      break;
    case 3:
      mode.kind = position::Llama3{factor};
      break;
    case 4:
    case 5:
      mode.kind = position::Rerope{window};
      break;
    case 6:
      mode.kind = position::LeakyRerope{window, 1 + below(20)};
      break;
    default:
      mode.kind = position::SelfExtend{1 + below(20), window};
  }
  if (below(3) == 0) mode.log_n = position::LogNSwitch{};
  mode.trained_length = 64 + below(400);
  mode.allow_beyond_reach = true;
  return mode;
}

TEST_P(AttentionTest, OfRandomModesInRandomBatchesIsThatOfTheNaiveReference) {
  const Geometry geometries[] = {
      {6, 2, 32, 32, CacheType::kF32}, {6, 2, 32, 20, CacheType::kBf16}, {3, 3, 48, 48, CacheType::kF16}};
  std::mt19937 random(11);
  for (int round = 0; round < 6; ++round) {
    const Geometry& g = geometries[round % 3];
    ModelRotation rotation;
    rotation.rotary_dims = g.rotary_dims;
    rotation.trained_length = 128;
    const auto resolver = PositionResolver::Create(rotation, DefaultLongMode(), 0).value();
    Reader reader(g, 2);
    std::vector<RotaryPlan> plans;
    std::vector<std::vector<float>> rows;
    for (int row = 0; row < 5; ++row) plans.push_back(resolver.Resolve(RandomMode(random), 700)->plan);
    for (const RotaryPlan& plan : plans) {
      rows.push_back(RandomQkv(g, 1 + static_cast<int64_t>(random() % 700), static_cast<uint32_t>(random())));
      reader.AddRow(rows.back(), plan);
    }
    // Rows come and go, in chunks of any length.
    for (bool any_left = true; any_left;) {
      std::vector<std::pair<size_t, int64_t>> work;
      any_left = false;
      for (size_t row = 0; row < rows.size(); ++row) {
        const int64_t left = reader.Left(row), most = random() % 2 == 0 ? 3 : 200;
        any_left = any_left || left > 0;
        if (left > 0 && random() % 4 != 0) {
          work.emplace_back(row, std::min(left, 1 + static_cast<int64_t>(random() % static_cast<uint64_t>(most))));
        }
      }
      if (!work.empty()) reader.Step(work);
    }
    for (size_t row = 0; row < rows.size(); ++row) {
      EXPECT_LT(LargestError(g, rows[row], plans[row], reader.Out(row)), 1e-5) << "round " << round << ", row " << row;
    }
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
