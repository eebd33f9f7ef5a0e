#include "engine/backend/cpu/matmul/packed_matrix.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "engine/backend/cpu/half.h"
#include "engine/backend/cpu/matmul/dequantize.h"
#include "engine/base/instruction_set.h"
#include "gtest/gtest.h"
#include "tests/engine/backend/cpu/each_instruction_set.h"

namespace longhaul::cpu {
namespace {

constexpr TensorType kTypes[] = {TensorType::kF32,  TensorType::kF16,  TensorType::kBF16, TensorType::kQ4_0,
                                 TensorType::kQ4_1, TensorType::kQ5_0, TensorType::kQ5_1, TensorType::kIQ4_NL,
                                 TensorType::kQ8_0, TensorType::kQ4_K, TensorType::kQ5_K, TensorType::kQ6_K};

// Random bytes whose 16-bit floats are of the size of real scales.
class RandomTensor {
 public:
  RandomTensor(TensorType type, int64_t rows, int64_t columns, uint32_t seed) : random_(seed) {
    tensor_.name = "blk.0.test";
    tensor_.type = type;
    tensor_.rows = rows;
    tensor_.columns = columns;
    bytes_.resize(static_cast<size_t>(rows * RowBytes(type, columns)));
    std::uniform_int_distribution<int> byte(0, 255);
    for (std::byte& b : bytes_) b = static_cast<std::byte>(byte(random_));
    const int64_t block = Info(type).block_bytes;
    for (int64_t at = 0; at < static_cast<int64_t>(bytes_.size()); at += block) {
      std::byte* to = &bytes_[static_cast<size_t>(at)];
      switch (type) {
        case TensorType::kF32:
          PutF32(to);
          break;
        case TensorType::kBF16:
          PutBfloat16(to);
          break;
        case TensorType::kF16:
        case TensorType::kQ4_0:
        case TensorType::kQ5_0:
        case TensorType::kIQ4_NL:
        case TensorType::kQ8_0:
          PutHalf(to);
          break;
        case TensorType::kQ4_1:
        case TensorType::kQ5_1:
        case TensorType::kQ4_K:
        case TensorType::kQ5_K:
          PutHalf(to);
          PutHalf(to + 2);
          break;
        case TensorType::kQ6_K:
          PutHalf(to + 208);
          break;
      }
    }
    tensor_.data = bytes_.data();
  }

  HostTensor& tensor() { return tensor_; }

  const uint8_t* Row(int64_t r) const {
    if (!tensor_.row_order.empty()) r = tensor_.row_order[static_cast<size_t>(r)];
    return reinterpret_cast<const uint8_t*>(bytes_.data()) + r * RowBytes(tensor_.type, tensor_.columns);
  }

  std::vector<float> Values(int64_t r) const {
    std::vector<float> values(static_cast<size_t>(tensor_.columns));
    DequantizeRow(tensor_.type, reinterpret_cast<const std::byte*>(Row(r)), tensor_.columns, values.data());
    return values;
  }

 private:
  void PutF32(std::byte* to) {
    const float value = normal_(random_);
    std::memcpy(to, &value, 4);
  }
  void PutBfloat16(std::byte* to) {
    const uint16_t value = FloatToBfloat16(normal_(random_));
    std::memcpy(to, &value, 2);
  }
  // Sign, an exponent of 2^-10 .. 2^-3, any mantissa.
  void PutHalf(std::byte* to) {
    const auto value = static_cast<uint16_t>((random_() & 0x83ffu) | ((5u + random_() % 8u) << 10));
    std::memcpy(to, &value, 2);
  }

  HostTensor tensor_;
  std::vector<std::byte> bytes_;
  std::mt19937 random_;
  std::normal_distribution<float> normal_;
};

std::vector<float> RandomRows(int64_t rows, int64_t columns, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(rows * columns));
  for (float& value : values) value = normal(random);
  return values;
}

PackedMatrixPtr PackOrDie(std::span<const HostTensor> parts, ComputeType compute, WorkerPool& pool) {
  WeightMemory memory;
  absl::StatusOr<PackedMatrixPtr> matrix = Pack(parts, compute, memory, pool);
  EXPECT_TRUE(matrix.ok()) << matrix.status().message();
  return matrix.ok() ? std::move(matrix).value() : nullptr;
}

std::vector<float> Matmul(const std::vector<float>& in, int64_t rows, const PackedMatrix& matrix, WorkerPool& pool) {
  std::vector<float> out(static_cast<size_t>(rows * Outputs(matrix)), -1.0f);
  MatmulScratch scratch;
  Multiply(in.data(), rows, matrix, Epilogue::kStore, out.data(), scratch, pool);
  return out;
}

// Whether every float has the same bits; NaNs too.
testing::AssertionResult SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return testing::AssertionFailure() << "sizes differ";
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::bit_cast<uint32_t>(a[i]) != std::bit_cast<uint32_t>(b[i])) {
      return testing::AssertionFailure() << "element " << i << ": " << a[i] << " and " << b[i];
    }
  }
  return testing::AssertionSuccess();
}

// --- The plain twin of the int8 product of one output, from the blocks of the file ---

float Half(const uint8_t* at) {
  uint16_t half;
  std::memcpy(&half, at, 2);
  return HalfToFloat(half);
}

// Signed codes of 32 elements with their scale and min; Q6_K has a further integer scale for each half.
struct TwinRun {
  int code[32];
  float scale = 0, min = 0;
  bool has_min = false;
  int half_scale[2] = {1, 1};
};

TwinRun ReadRun(TensorType type, const uint8_t* row, int64_t k) {
  const TensorTypeInfo& info = Info(type);
  const uint8_t* b = row + k / info.block_elements * info.block_bytes;
  const int64_t run = k % info.block_elements / 32;
  TwinRun out;
  const auto k_scales = [&](const uint8_t* s) {
    const int64_t j = run;
    const int scale = j < 4 ? s[j] & 63 : (s[j + 4] & 15) | ((s[j - 4] >> 6) << 4);
    const int min = j < 4 ? s[j + 4] & 63 : (s[j + 4] >> 4) | ((s[j] >> 6) << 4);
    out.scale = Half(b) * static_cast<float>(scale);
    out.min = -(Half(b + 2) * static_cast<float>(min));
    out.has_min = true;
  };
  const auto nibble = [](int byte, bool high) { return high ? byte >> 4 : byte & 15; };
  for (int64_t i = 0; i < 32; ++i) {
    int& code = out.code[i];
    switch (type) {
      case TensorType::kQ4_0:
        code = nibble(b[2 + i % 16], i >= 16) - 8;
        break;
      case TensorType::kQ4_1:
        code = nibble(b[4 + i % 16], i >= 16);
        break;
      case TensorType::kQ5_0:
        code = nibble(b[6 + i % 16], i >= 16) + 16 * ((b[2 + i / 8] >> (i % 8)) & 1) - 16;
        break;
      case TensorType::kQ5_1:
        code = nibble(b[8 + i % 16], i >= 16) + 16 * ((b[4 + i / 8] >> (i % 8)) & 1);
        break;
      case TensorType::kIQ4_NL: {
        constexpr int kTable[] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
        code = kTable[nibble(b[2 + i % 16], i >= 16)];
        break;
      }
      case TensorType::kQ8_0:
        code = static_cast<int8_t>(b[2 + i]);
        break;
      case TensorType::kQ4_K:
        code = nibble(b[16 + run / 2 * 32 + i], run % 2 == 1);
        break;
      case TensorType::kQ5_K:
        code = nibble(b[48 + run / 2 * 32 + i], run % 2 == 1) + 16 * ((b[16 + i] >> run) & 1);
        break;
      case TensorType::kQ6_K:
        code = nibble(b[run / 4 * 64 + run % 2 * 32 + i], run % 4 >= 2) +
               16 * ((b[128 + run / 4 * 32 + i] >> (run % 4 * 2)) & 3) - 32;
        break;
      default:
        break;
    }
  }
  switch (type) {
    case TensorType::kQ4_1:
    case TensorType::kQ5_1:
      out.min = Half(b + 2);
      out.has_min = true;
      out.scale = Half(b);
      break;
    case TensorType::kQ4_K:
    case TensorType::kQ5_K:
      k_scales(b + 4);
      break;
    case TensorType::kQ6_K:
      out.scale = Half(b + 208);
      for (int h = 0; h < 2; ++h) out.half_scale[h] = static_cast<int8_t>(b[192 + run * 2 + h]);
      break;
    default:
      out.scale = Half(b);
  }
  return out;
}

float TwinInt8(TensorType type, const uint8_t* row, const float* x, int64_t columns) {
  float sum = 0;
  for (int64_t k = 0; k < columns; k += 32) {
    float largest = 0;
    for (int64_t i = 0; i < 32; ++i) largest = std::max(largest, std::fabs(x[k + i]));
    const float scale = largest / 127.0f;
    const float inverse = scale > 0 ? 1.0f / scale : 0.0f;
    const TwinRun run = ReadRun(type, row, k);
    int isum = 0, total = 0;
    for (int64_t i = 0; i < 32; ++i) {
      const int code = static_cast<int>(std::nearbyint(x[k + i] * inverse));
      isum += run.half_scale[i / 16] * run.code[i] * code;
      total += code;
    }
    sum = std::fma(static_cast<float>(isum), run.scale * scale, sum);
    if (run.has_min) sum = std::fma(run.min, scale * static_cast<float>(total), sum);
  }
  return sum;
}

// --- Tests: every instruction set of this CPU, every type ---

class MatmulTest : public EachInstructionSet {
 protected:
  static bool Quantized(TensorType type) { return Info(type).quantized; }

  WorkerPool pool_{2};
};

TEST_P(MatmulTest, F32IsTheSumOverDequantizedValues) {
  for (TensorType type : kTypes) {
    const int64_t columns = Quantized(type) ? 768 : 301, rows = 15;
    RandomTensor weights(type, 37, columns, 1);
    const PackedMatrixPtr matrix = PackOrDie({&weights.tensor(), 1}, ComputeType::kF32, pool_);
    ASSERT_NE(matrix, nullptr);
    const std::vector<float> in = RandomRows(rows, columns, 2);
    const std::vector<float> out = Matmul(in, rows, *matrix, pool_);
    for (int64_t n = 0; n < 37; ++n) {
      const std::vector<float> w = weights.Values(n);
      for (int64_t r = 0; r < rows; ++r) {
        double sum = 0, magnitude = 0;
        for (size_t k = 0; k < w.size(); ++k) {
          const double product = static_cast<double>(w[k]) * in[static_cast<size_t>(r * columns) + k];
          sum += product;
          magnitude += std::fabs(product);
        }
        ASSERT_NEAR(out[static_cast<size_t>(r * 37 + n)], sum, 1e-6 * magnitude) << Info(type).name;
      }
    }
  }
}

TEST_P(MatmulTest, Bf16IsTheSumOverRoundedOperands) {
  for (TensorType type : kTypes) {
    const int64_t columns = Quantized(type) ? 768 : 301, rows = 15;
    RandomTensor weights(type, 37, columns, 3);
    const PackedMatrixPtr matrix = PackOrDie({&weights.tensor(), 1}, ComputeType::kBf16, pool_);
    ASSERT_NE(matrix, nullptr);
    const std::vector<float> in = RandomRows(rows, columns, 4);
    const std::vector<float> out = Matmul(in, rows, *matrix, pool_);
    for (int64_t n = 0; n < 37; ++n) {
      const std::vector<float> w = weights.Values(n);
      for (int64_t r = 0; r < rows; ++r) {
        double sum = 0, magnitude = 0;
        for (size_t k = 0; k < w.size(); ++k) {
          const double product = static_cast<double>(Bfloat16ToFloat(FloatToBfloat16(w[k]))) *
                                 Bfloat16ToFloat(FloatToBfloat16(in[static_cast<size_t>(r * columns) + k]));
          sum += product;
          magnitude += std::fabs(product);
        }
        ASSERT_NEAR(out[static_cast<size_t>(r * 37 + n)], sum, 1e-6 * magnitude) << Info(type).name;
      }
    }
  }
}

TEST_P(MatmulTest, Int8EqualsItsPlainTwin) {
  for (TensorType type : kTypes) {
    if (!Quantized(type)) continue;
    const int64_t columns = 768, rows = 15;
    RandomTensor weights(type, 37, columns, 5);
    const PackedMatrixPtr matrix = PackOrDie({&weights.tensor(), 1}, ComputeType::kInt8, pool_);
    ASSERT_NE(matrix, nullptr);
    std::vector<float> in = RandomRows(rows, columns, 6);
    std::fill(in.begin() + 64, in.begin() + 96, 0.0f);                          // a block of zeros
    for (size_t k = 96; k < 128; ++k) in[k] = -3.0f;                            // codes of -127 alone
    for (size_t k = 128; k < 160; ++k) in[k] *= 1e30f;                          // a large scale
    for (size_t k = 160; k < 192; ++k) in[k] = static_cast<float>(k) - 159.5f;  // ties
    const std::vector<float> out = Matmul(in, rows, *matrix, pool_);
    for (int64_t n = 0; n < 37; ++n) {
      for (int64_t r = 0; r < rows; ++r) {
        ASSERT_EQ(out[static_cast<size_t>(r * 37 + n)],
                  TwinInt8(type, weights.Row(n), &in[static_cast<size_t>(r * columns)], columns))
            << Info(type).name << " row " << r << " output " << n;
      }
    }
  }
}

TEST_P(MatmulTest, Int8OnAFloatMatrixIsBf16) {
  RandomTensor weights(TensorType::kF16, 40, 99, 7);
  const std::vector<float> in = RandomRows(3, 99, 8);
  const PackedMatrixPtr int8 = PackOrDie({&weights.tensor(), 1}, ComputeType::kInt8, pool_);
  const PackedMatrixPtr bf16 = PackOrDie({&weights.tensor(), 1}, ComputeType::kBf16, pool_);
  EXPECT_TRUE(SameBits(Matmul(in, 3, *int8, pool_), Matmul(in, 3, *bf16, pool_)));
}

TEST_P(MatmulTest, ARowsResultDependsOnNothingButTheRow) {
  WorkerPool one(1), three(3);
  for (ComputeType compute : {ComputeType::kF32, ComputeType::kBf16, ComputeType::kInt8}) {
    for (TensorType type : kTypes) {
      // More columns than a chunk, more rows than are worked on at once in one case.
      const int64_t columns = Quantized(type) ? 1024 : 515;
      const int64_t rows = type == TensorType::kQ4_1 || type == TensorType::kBF16 ? 421 : 23;
      RandomTensor weights(type, 50, columns, 9);
      const PackedMatrixPtr matrix = PackOrDie({&weights.tensor(), 1}, compute, pool_);
      ASSERT_NE(matrix, nullptr);
      const std::vector<float> in = RandomRows(rows, columns, 10);
      const std::vector<float> all = Matmul(in, rows, *matrix, pool_);
      EXPECT_TRUE(SameBits(all, Matmul(in, rows, *matrix, one)));
      EXPECT_TRUE(SameBits(all, Matmul(in, rows, *matrix, three)));
      // The rows in batches of 1, 2, 3, ... rows.
      std::vector<float> in_batches;
      for (int64_t r = 0, batch = 1; r < rows; r += batch, ++batch) {
        batch = std::min(batch, rows - r);
        const std::vector<float> part(in.begin() + r * columns, in.begin() + (r + batch) * columns);
        const std::vector<float> out = Matmul(part, batch, *matrix, pool_);
        in_batches.insert(in_batches.end(), out.begin(), out.end());
      }
      EXPECT_TRUE(SameBits(all, in_batches)) << Info(type).name << " " << Name(compute);
    }
  }
}

TEST_P(MatmulTest, EveryNumberOfOutputsAndRows) {
  for (ComputeType compute : {ComputeType::kF32, ComputeType::kBf16, ComputeType::kInt8}) {
    RandomTensor all(TensorType::kQ4_0, 70, 64, 11);
    const PackedMatrixPtr whole = PackOrDie({&all.tensor(), 1}, compute, pool_);
    const std::vector<float> in = RandomRows(40, 64, 12);
    const std::vector<float> want = Matmul(in, 40, *whole, pool_);
    for (int64_t outputs : {1, 15, 16, 17, 31, 32, 33, 64, 70}) {
      HostTensor first = all.tensor();
      first.rows = outputs;
      const PackedMatrixPtr matrix = PackOrDie({&first, 1}, compute, pool_);
      ASSERT_EQ(Outputs(*matrix), outputs);
      for (int64_t rows = 1; rows <= 40; ++rows) {
        const std::vector<float> got = Matmul(in, rows, *matrix, pool_);
        for (int64_t r = 0; r < rows; ++r) {
          for (int64_t n = 0; n < outputs; ++n) {
            ASSERT_EQ(got[static_cast<size_t>(r * outputs + n)], want[static_cast<size_t>(r * 70 + n)]);
          }
        }
      }
    }
  }
}

TEST_P(MatmulTest, PartsOfSeveralTypesAndOrdersAreStacked) {
  RandomTensor parts[] = {RandomTensor(TensorType::kQ4_K, 21, 256, 13), RandomTensor(TensorType::kQ4_K, 5, 256, 14),
                          RandomTensor(TensorType::kQ6_K, 33, 256, 15), RandomTensor(TensorType::kF16, 9, 256, 16)};
  parts[1].tensor().row_order = {4, 2, 0, 1, 3};
  for (ComputeType compute : {ComputeType::kF32, ComputeType::kBf16, ComputeType::kInt8}) {
    std::vector<HostTensor> tensors;
    for (RandomTensor& part : parts) tensors.push_back(part.tensor());
    const PackedMatrixPtr stacked = PackOrDie(tensors, compute, pool_);
    ASSERT_NE(stacked, nullptr);
    EXPECT_EQ(Outputs(*stacked), 68);
    EXPECT_EQ(Columns(*stacked), 256);
    const std::vector<float> in = RandomRows(14, 256, 17);
    const std::vector<float> out = Matmul(in, 14, *stacked, pool_);
    int64_t at = 0;
    for (RandomTensor& part : parts) {
      // Row by row, so that the order of rows is not left to Pack a second time.
      for (int64_t n = 0; n < part.tensor().rows; ++n, ++at) {
        HostTensor row = part.tensor();
        row.row_order.clear();
        row.rows = 1;
        row.data = reinterpret_cast<const std::byte*>(part.Row(n));
        const std::vector<float> alone = Matmul(in, 14, *PackOrDie({&row, 1}, compute, pool_), pool_);
        for (int64_t r = 0; r < 14; ++r) {
          ASSERT_EQ(out[static_cast<size_t>(r * 68 + at)], alone[static_cast<size_t>(r)]) << "output " << at;
        }
      }
    }
  }
}

TEST_P(MatmulTest, AddsToWhatIsThere) {
  for (ComputeType compute : {ComputeType::kF32, ComputeType::kBf16, ComputeType::kInt8}) {
    RandomTensor weights(TensorType::kQ8_0, 37, 64, 18);
    const PackedMatrixPtr matrix = PackOrDie({&weights.tensor(), 1}, compute, pool_);
    const std::vector<float> in = RandomRows(13, 64, 19), residual = RandomRows(13, 37, 20);
    const std::vector<float> product = Matmul(in, 13, *matrix, pool_);
    std::vector<float> sum = residual;
    MatmulScratch scratch;
    Multiply(in.data(), 13, *matrix, Epilogue::kAdd, sum.data(), scratch, pool_);
    for (size_t i = 0; i < sum.size(); ++i) ASSERT_EQ(sum[i], residual[i] + product[i]);
  }
}

TEST_P(MatmulTest, ActivationsThatAreNotFiniteShowInTheirRowAlone) {
  for (TensorType type : {TensorType::kQ4_1, TensorType::kQ6_K}) {
    RandomTensor weights(type, 16, 256, 21);
    const PackedMatrixPtr matrix = PackOrDie({&weights.tensor(), 1}, ComputeType::kInt8, pool_);
    std::vector<float> in = RandomRows(4, 256, 22);
    const std::vector<float> clean = Matmul(in, 4, *matrix, pool_);
    in[1 * 256 + 40] = std::numeric_limits<float>::quiet_NaN();
    in[2 * 256 + 255] = -std::numeric_limits<float>::infinity();
    const std::vector<float> out = Matmul(in, 4, *matrix, pool_);
    for (size_t n = 0; n < 16; ++n) {
      EXPECT_EQ(out[n], clean[n]);
      EXPECT_TRUE(std::isnan(out[16 + n]));
      EXPECT_TRUE(std::isnan(out[32 + n]));
      EXPECT_EQ(out[48 + n], clean[48 + n]);
    }
    // The least numbers are as nothing.
    const std::vector<float> tiny(256, 1e-44f);
    for (float value : Matmul(tiny, 1, *matrix, pool_)) EXPECT_EQ(value, 0.0f);
  }
}

TEST_P(MatmulTest, TakesLittleMoreMemoryThanTheFile) {
  for (TensorType type : kTypes) {
    if (!Quantized(type)) continue;
    RandomTensor weights(type, 64, 1024, 23);
    const PackedMatrixPtr matrix = PackOrDie({&weights.tensor(), 1}, ComputeType::kInt8, pool_);
    EXPECT_LE(static_cast<double>(Bytes(*matrix)), 1.03 * static_cast<double>(64 * RowBytes(type, 1024)));
  }
}

INSTANTIATE_TEST_SUITE_P(, MatmulTest, testing::ValuesIn(AvailableInstructionSets()), InstructionSetTestName);

TEST(PackTest, AMatrixPackedUnderOneInstructionSetServesAnother) {
  WorkerPool pool(2);
  const std::vector<float> in = RandomRows(5, 512, 24);
  for (TensorType type : kTypes) {
    RandomTensor weights(type, 48, 512, 25);
    for (ComputeType compute : {ComputeType::kF32, ComputeType::kInt8}) {
      UseInstructionSet(InstructionSet::kPortable);
      const PackedMatrixPtr portable = PackOrDie({&weights.tensor(), 1}, compute, pool);
      UseInstructionSet(DetectInstructionSet());
      const PackedMatrixPtr best = PackOrDie({&weights.tensor(), 1}, compute, pool);
      EXPECT_TRUE(SameBits(Matmul(in, 5, *portable, pool), Matmul(in, 5, *best, pool)));
    }
  }
}

}  // namespace
}  // namespace longhaul::cpu
