#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/model/checkpoint.h"
#include "engine/model/model_tensors.h"

namespace longhaul {

// Hands out the tensors of a checkpoint by name and shape, and knows which were not taken. Errors are INVALID_ARGUMENT
// and name file and tensor.
class TensorSource {
 public:
  // `checkpoint` outlives it.
  explicit TensorSource(const Checkpoint& checkpoint);

  bool Has(const std::string& name) const { return checkpoint_.Find(name) != nullptr; }

  // [rows, columns], of any type.
  absl::StatusOr<StoredTensor> Matrix(const std::string& name, int64_t rows, int64_t columns);
  // [elements], of a type that is not quantized.
  absl::StatusOr<StoredTensor> Vector(const std::string& name, int64_t elements);

  // An error when a tensor was not taken: a bias, an adapter, an expert or a further layer that is ignored would make
  // the results silently wrong.
  absl::Status CheckAllUsed() const;

 private:
  absl::StatusOr<StoredTensor> Take(const std::string& name, const std::vector<int64_t>& dims);

  const Checkpoint& checkpoint_;
  std::vector<bool> used_;  // of checkpoint_.tensors()
};

// The order of rows that brings the rotary pairs (2i, 2i+1) of each head to (i, i + rotary_dims / 2). Dimensions that
// are not rotated stay in place.
std::vector<int32_t> HalfSplitOrder(int64_t n_heads, int64_t head_dim, int64_t rotary_dims);

}  // namespace longhaul
