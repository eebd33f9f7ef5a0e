#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/backend/tensor_type.h"

namespace longhaul {

// Builds GGUF files in memory, sound ones and broken ones. Setting a key or tensor again replaces it.
class GgufWriter {
 public:
  uint32_t version = 3;
  uint64_t alignment = 32;  // written as general.alignment unless it is the default

  void SetUint32(std::string_view key, uint32_t value);
  void SetUint64(std::string_view key, uint64_t value);
  void SetInt32(std::string_view key, int32_t value);
  void SetFloat32(std::string_view key, float value);
  void SetBool(std::string_view key, bool value);
  void SetString(std::string_view key, std::string_view value);
  void SetStrings(std::string_view key, const std::vector<std::string>& values);
  void SetInt32s(std::string_view key, const std::vector<int32_t>& values);
  // Any type number and payload bytes as they stand in the file.
  void SetRaw(std::string_view key, uint32_t type, std::string payload);
  void RemoveKey(std::string_view key);

  // `dims` with the columns first. `data` may have any length: the file's tensors follow each other as they are given.
  void SetTensor(std::string_view name, std::vector<uint64_t> dims, uint32_t type, std::string data);
  // A tensor of random finite values that depend on `seed` and the name alone. `deviation`, of F32 and Q4_1 only: about
  // 0 with this standard deviation; 0 leaves the spread to the type.
  void SetRandomTensor(std::string_view name, std::vector<uint64_t> dims, TensorType type, uint64_t seed,
                       double deviation = 0);
  void RemoveTensor(std::string_view name);

  std::vector<std::byte> Build() const;

 private:
  struct Value {
    std::string key;
    uint32_t type;
    std::string payload;
  };
  struct Tensor {
    std::string name;
    std::vector<uint64_t> dims;
    uint32_t type;
    std::string data;
  };

  std::vector<Value> values_;
  std::vector<Tensor> tensors_;
};

// A whole model with random weights and a byte-level BPE tokenizer of ASCII letters.
struct TinyModelOptions {
  std::string architecture = "llama";  // or qwen2, qwen3: with the tensors that the family has
  int64_t n_layers = 1, n_heads = 2, n_kv_heads = 1, head_dim = 16, width = 32, feed_forward_width = 64;
  int64_t vocabulary = 64;  // at least 24
  int64_t context_length = 256;
  bool tied = true;
  uint64_t seed = 1;
  // By how much a matrix (F32 or Q4_1) lengthens a vector. 0 leaves it to the types: attention then sees one key alone.
  double gain = 0;
  // The type of a tensor; F16 where the columns are no multiple of its block. Norms are F32.
  std::function<TensorType(std::string_view name)> type = [](std::string_view) { return TensorType::kQ8_0; };
};

GgufWriter TinyModel(const TinyModelOptions& options = {});

// The smallest of them, below 4 KB, with several tensor types: the seed of the fuzzers.
GgufWriter SmallestModel(const std::string& architecture = "llama");

}  // namespace longhaul
