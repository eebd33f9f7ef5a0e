#include "engine/decoding/log_softmax.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "engine/base/instruction_set.h"
#include "engine/decoding/logit_kernels.h"

namespace longhaul {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::vector<float> RandomLogits(size_t n, float spread, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(-3, spread);
  std::vector<float> logits(n);
  for (float& logit : logits) logit = normal(random);
  return logits;
}

double LogSumExpInDouble(const std::vector<float>& logits) {
  double max = -std::numeric_limits<double>::infinity(), sum = 0;
  for (float x : logits) max = std::max(max, static_cast<double>(x));
  for (float x : logits) sum += std::exp(static_cast<double>(x) - max);
  return max + std::log(sum);
}

// Runs the rest of a scope with fewer instructions than the CPU has.
class WithInstructionSet {
 public:
  explicit WithInstructionSet(InstructionSet set) { UseInstructionSet(set); }
  ~WithInstructionSet() { UseInstructionSet(DetectInstructionSet()); }
};

TEST(LogSumExp, IsThatOfDoublePrecisionOnEveryInstructionSetAndLength) {
  for (InstructionSet set : {InstructionSet::kPortable, InstructionSet::kAvx2, InstructionSet::kAvx512}) {
    if (set > DetectInstructionSet()) continue;
    const WithInstructionSet active(set);
    for (size_t n : {1, 2, 15, 16, 17, 63, 64, 65, 255, 257, 4095, 4096, 4097, 8200, 49152, 128257}) {
      for (float spread : {0.01f, 3.0f, 40.0f}) {
        const std::vector<float> logits = RandomLogits(n, spread, static_cast<uint32_t>(n));
        const double expected = LogSumExpInDouble(logits);
        EXPECT_NEAR(static_cast<double>(LogSumExp(logits)), expected, 1e-6 * std::max(1.0, std::abs(expected)))
            << InstructionSetName(set) << ", " << n << " logits, spread " << spread;
      }
    }
  }
}

TEST(LogSumExp, LogProbabilitiesSumToOne) {
  const std::vector<float> logits = RandomLogits(49152, 4, 1);
  const float log_sum_exp = LogSumExp(logits);
  double sum = 0;
  for (float logit : logits) sum += std::exp(static_cast<double>(LogProbability(logit, log_sum_exp)));
  EXPECT_NEAR(sum, 1, 2e-6);
}

TEST(LogSumExp, TokensWithoutProbabilityAddNothing) {
  std::vector<float> logits(10000, -kInfinity);
  EXPECT_EQ(LogSumExp(logits), -kInfinity);
  EXPECT_EQ(LogSumExp({}), -kInfinity);
  logits[9000] = 2.5f;  // two ranges of -infinity alone precede it
  EXPECT_EQ(LogSumExp(logits), 2.5f);
}

TEST(LogSumExp, FarLogitsNeitherOverflowNorVanish) {
  EXPECT_FLOAT_EQ(LogSumExp(std::vector<float>{3e38f, 3e38f}), 3e38f);
  EXPECT_FLOAT_EQ(LogSumExp(std::vector<float>{-3e38f, -3e38f}), -3e38f);
  EXPECT_FLOAT_EQ(LogSumExp(std::vector<float>{-1000, -1000}), -1000 + std::log(2.0f));
}

TEST(LogSumExp, IsNotANumberWhereALogitIsNone) {
  for (size_t n : {1, 5, 64, 4097, 10001}) {
    for (size_t at : {size_t{0}, n / 2, n - 1}) {
      std::vector<float> logits = RandomLogits(n, 3, 7);
      logits[at] = kNan;
      EXPECT_TRUE(std::isnan(LogSumExp(logits))) << at << " of " << n;
    }
  }
}

TEST(LogitKernels, CellMaximaCoverEveryIdOnce) {
  for (size_t n : {1, 15, 16, 17, 255, 256, 257, 1000, 4096}) {
    for (size_t peak = 0; peak < n; peak += 1 + n / 40) {
      std::vector<float> logits(n, -1), maxima(NumCells(n));
      logits[peak] = 1;
      ASSERT_TRUE(CellMaxima(logits, maxima.data()));
      for (size_t cell = 0; cell < maxima.size(); ++cell) {
        float expected = -kInfinity;
        for (size_t row = 0; row < kCellRows; ++row) {
          const size_t id = cell / kCellStride * kTile + row * kCellStride + cell % kCellStride;
          if (id < n) expected = std::max(expected, logits[id]);
        }
        ASSERT_EQ(maxima[cell], expected) << "cell " << cell << ", peak " << peak << " of " << n;
      }
      logits[peak] = kNan;
      ASSERT_FALSE(CellMaxima(logits, maxima.data()));
    }
  }
}

}  // namespace
}  // namespace longhaul
