#include "engine/backend/cpu/matmul/dequantize.h"

#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace longhaul::cpu {
namespace {

std::vector<char> ReadGolden(const std::string& name) {
  std::ifstream file(std::string(LONGHAUL_SOURCE_DIR) + "/tests/oracle/dequantize/" + name, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

class DequantizeTest : public testing::TestWithParam<TensorType> {};

TEST_P(DequantizeTest, EqualsTheReferenceToTheBit) {
  const TensorTypeInfo& info = Info(GetParam());
  const std::vector<char> blocks = ReadGolden(std::string(info.name) + ".blocks");
  const std::vector<char> values = ReadGolden(std::string(info.name) + ".values");
  const auto elements = static_cast<int64_t>(values.size() / sizeof(float));
  ASSERT_GT(elements, 0);
  ASSERT_EQ(static_cast<int64_t>(blocks.size()), RowBytes(GetParam(), elements));

  std::vector<float> out(static_cast<size_t>(elements));
  DequantizeRow(GetParam(), reinterpret_cast<const std::byte*>(blocks.data()), elements, out.data());
  for (size_t i = 0; i < out.size(); ++i) {
    uint32_t got, want;
    std::memcpy(&got, &out[i], 4);
    std::memcpy(&want, &values[4 * i], 4);
    ASSERT_EQ(got, want) << "element " << i << " is " << out[i];
  }
}

INSTANTIATE_TEST_SUITE_P(Types, DequantizeTest,
                         testing::Values(TensorType::kF32, TensorType::kF16, TensorType::kBF16, TensorType::kQ4_0,
                                         TensorType::kQ4_1, TensorType::kQ5_0, TensorType::kQ5_1, TensorType::kIQ4_NL,
                                         TensorType::kQ8_0, TensorType::kQ4_K, TensorType::kQ5_K, TensorType::kQ6_K),
                         [](const auto& param) { return std::string(Info(param.param).name); });

}  // namespace
}  // namespace longhaul::cpu
