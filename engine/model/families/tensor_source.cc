#include "engine/model/families/tensor_source.h"

#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/base/quoted.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"

namespace longhaul {
namespace {

template <typename... Parts>
absl::Status Error(const Checkpoint& checkpoint, const std::string& name, const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat(checkpoint.path(), ": tensor ", Quoted(name), " ", parts...));
}

// The first two are part of the configuration (the second only for a request that asks for it); the others hold
// rotary frequencies that older converters wrote and that follow from it.
bool IsHarmless(std::string_view name) {
  return name == "rope_freqs.weight" || name == "rope_factors_long.weight" || name.ends_with(".rot_embd.weight") ||
         name.ends_with("attn_rot_embd.weight") || name.ends_with("rotary_emb.inv_freq");
}

// As other tools of GGUF print it, columns first.
std::string Shape(const std::vector<int64_t>& dims) {
  return absl::StrCat("[", absl::StrJoin(dims, ", "), "]");
}

}  // namespace

TensorSource::TensorSource(const Checkpoint& checkpoint)
    : checkpoint_(checkpoint), used_(checkpoint.tensors().size(), false) {}

absl::StatusOr<StoredTensor> TensorSource::Matrix(const std::string& name, int64_t rows, int64_t columns) {
  return Take(name, {columns, rows});
}

absl::StatusOr<StoredTensor> TensorSource::Vector(const std::string& name, int64_t elements) {
  LH_ASSIGN_OR_RETURN(StoredTensor vector, Take(name, {elements}));
  if (Info(vector.tensor.type).quantized) {
    return Error(checkpoint_, name, "has type ", ToAbsl(Info(vector.tensor.type).name), ", expected F32, F16 or BF16");
  }
  return vector;
}

absl::Status TensorSource::CheckAllUsed() const {
  for (size_t i = 0; i < used_.size(); ++i) {
    const std::string& name = checkpoint_.tensors()[i].name;
    if (used_[i] || IsHarmless(name)) continue;
    return Error(checkpoint_, name,
                 "is none that a model of this architecture and block count has: leaving it out would give wrong "
                 "results");
  }
  return absl::OkStatus();
}

absl::StatusOr<StoredTensor> TensorSource::Take(const std::string& name, const std::vector<int64_t>& dims) {
  const TensorEntry* tensor = checkpoint_.Find(name);
  if (tensor == nullptr) return Error(checkpoint_, name, "is missing, expected one of shape ", Shape(dims));
  if (tensor->dims != dims) {
    return Error(checkpoint_, name, "has shape ", Shape(tensor->dims), ", expected ", Shape(dims));
  }
  used_[static_cast<size_t>(tensor - checkpoint_.tensors().data())] = true;
  return StoredTensor{.tensor = {.name = name,
                                 .type = tensor->type,
                                 .rows = dims.size() > 1 ? dims[1] : 1,
                                 .columns = dims[0],
                                 .data = nullptr,
                                 .owner = nullptr,
                                 .row_order = {}},
                      .offset = tensor->offset};
}

std::vector<int32_t> HalfSplitOrder(int64_t n_heads, int64_t head_dim, int64_t rotary_dims) {
  std::vector<int32_t> order;
  order.reserve(static_cast<size_t>(n_heads * head_dim));
  for (int64_t head = 0; head < n_heads; ++head) {
    for (int64_t dim = 0; dim < head_dim; ++dim) {
      int64_t from = dim;
      if (dim < rotary_dims / 2) {
        from = 2 * dim;
      } else if (dim < rotary_dims) {
        from = 2 * (dim - rotary_dims / 2) + 1;
      }
      order.push_back(static_cast<int32_t>(head * head_dim + from));
    }
  }
  return order;
}

}  // namespace longhaul
