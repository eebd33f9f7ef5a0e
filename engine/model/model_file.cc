#include "engine/model/model_file.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/base/quoted.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"

namespace longhaul {
namespace {

// Hands out the file's tensors by name and shape, and knows which ones nobody asked for.
class TensorSource {
 public:
  explicit TensorSource(const GgufFile& file) : file_(file), used_(file.tensors().size(), false) {}

  bool Has(const std::string& name) const { return file_.Find(name) != nullptr; }

  absl::StatusOr<StoredTensor> Matrix(const std::string& name, int64_t rows, int64_t columns) {
    return Take(name, {columns, rows});
  }

  absl::StatusOr<StoredTensor> Vector(const std::string& name, int64_t elements) {
    LH_ASSIGN_OR_RETURN(StoredTensor vector, Take(name, {elements}));
    if (Info(vector.tensor.type).quantized) {
      return Error(name, "has type ", ToAbsl(Info(vector.tensor.type).name), ", expected F32, F16 or BF16");
    }
    return vector;
  }

  // INVALID_ARGUMENT when a tensor was left over: a bias, an adapter, an expert or a layer too many would change the
  // results, which would be wrong without a sign.
  absl::Status CheckAllUsed() const {
    for (size_t i = 0; i < used_.size(); ++i) {
      const std::string& name = file_.tensors()[i].name;
      if (!used_[i] && !IsHarmless(name)) {
        return absl::InvalidArgumentError(absl::StrCat(file_.path(), ": tensor ", Quoted(name),
                                                       " is none that a model of this architecture and block count "
                                                       "has: leaving it out would give wrong results"));
      }
    }
    return absl::OkStatus();
  }

 private:
  template <typename... Parts>
  absl::Status Error(const std::string& name, const Parts&... parts) const {
    return absl::InvalidArgumentError(absl::StrCat(file_.path(), ": tensor ", Quoted(name), " ", parts...));
  }

  // The first two are part of the configuration (the second only for a request that asks for it); the others hold
  // rotary frequencies that older converters wrote and that follow from it.
  static bool IsHarmless(std::string_view name) {
    return name == "rope_freqs.weight" || name == "rope_factors_long.weight" || name.ends_with(".rot_embd.weight") ||
           name.ends_with("attn_rot_embd.weight") || name.ends_with("rotary_emb.inv_freq");
  }

  absl::StatusOr<StoredTensor> Take(const std::string& name, const std::vector<int64_t>& dims) {
    const GgufTensor* tensor = file_.Find(name);
    if (tensor == nullptr) return Error(name, "is missing, expected one of shape ", Shape(dims));
    if (tensor->dims != dims) {
      return Error(name, "has shape ", Shape(tensor->dims), ", expected ", Shape(dims));
    }
    used_[static_cast<size_t>(tensor - file_.tensors().data())] = true;
    return StoredTensor{.tensor = {.name = name,
                                   .type = tensor->type,
                                   .rows = dims.size() > 1 ? dims[1] : 1,
                                   .columns = dims[0],
                                   .data = nullptr,
                                   .owner = nullptr,
                                   .row_order = {}},
                        .offset = tensor->offset};
  }

  // As other tools of this format print it, columns first.
  static std::string Shape(const std::vector<int64_t>& dims) {
    return absl::StrCat("[", absl::StrJoin(dims, ", "), "]");
  }

  const GgufFile& file_;
  std::vector<bool> used_;
};

// The order of rows that brings the rotary pairs (2i, 2i+1) of each head to (i, i + rotary_dims / 2). The dimensions
// that do not turn stay where they are.
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

absl::StatusOr<LayerTensors> TakeLayer(TensorSource& source, const ModelConfig& config, int64_t layer) {
  const auto name = [layer](const char* part) { return absl::StrCat("blk.", layer, ".", part, ".weight"); };
  const int64_t width = config.width, inner = config.feed_forward_width;
  const int64_t query_width = config.n_heads * config.head_dim, kv_width = config.n_kv_heads * config.head_dim;
  LayerTensors t;
  LH_ASSIGN_OR_RETURN(t.attention_norm, source.Vector(name("attn_norm"), width));
  LH_ASSIGN_OR_RETURN(t.query, source.Matrix(name("attn_q"), query_width, width));
  LH_ASSIGN_OR_RETURN(t.key, source.Matrix(name("attn_k"), kv_width, width));
  LH_ASSIGN_OR_RETURN(t.value, source.Matrix(name("attn_v"), kv_width, width));
  LH_ASSIGN_OR_RETURN(t.attention_output, source.Matrix(name("attn_output"), width, query_width));
  LH_ASSIGN_OR_RETURN(t.feed_forward_norm, source.Vector(name("ffn_norm"), width));
  LH_ASSIGN_OR_RETURN(t.gate, source.Matrix(name("ffn_gate"), inner, width));
  LH_ASSIGN_OR_RETURN(t.up, source.Matrix(name("ffn_up"), inner, width));
  LH_ASSIGN_OR_RETURN(t.down, source.Matrix(name("ffn_down"), width, inner));
  if (config.pair_layout == PairLayout::kInterleaved) {
    const int64_t rotary_dims = config.rotation.rotary_dims;
    t.query.tensor.row_order = HalfSplitOrder(config.n_heads, config.head_dim, rotary_dims);
    t.key.tensor.row_order = HalfSplitOrder(config.n_kv_heads, config.head_dim, rotary_dims);
  }
  return t;
}

bool AnyQuantized(const LayerTensors& layer) {
  const StoredTensor* const matrices[] = {&layer.query, &layer.key, &layer.value, &layer.attention_output,
                                          &layer.gate,  &layer.up,  &layer.down};
  return std::ranges::any_of(matrices, [](const StoredTensor* matrix) { return Info(matrix->tensor.type).quantized; });
}

}  // namespace

absl::StatusOr<ModelFile> LoadModelFile(const std::string& path) {
  LH_ASSIGN_OR_RETURN(std::unique_ptr<GgufFile> gguf, GgufFile::Open(path));
  return LoadModelFile(std::move(gguf));
}

absl::StatusOr<ModelFile> LoadModelFile(std::unique_ptr<GgufFile> gguf) {
  ModelFile model;
  LH_ASSIGN_OR_RETURN(model.config, ReadModelConfig(*gguf));
  const ModelConfig& config = model.config;
  TensorSource source(*gguf);
  LH_ASSIGN_OR_RETURN(model.embedding, source.Matrix("token_embd.weight", config.vocabulary_size, config.width));
  for (int64_t layer = 0; layer < config.n_layers; ++layer) {
    LH_ASSIGN_OR_RETURN(LayerTensors tensors, TakeLayer(source, config, layer));
    model.layers.push_back(std::move(tensors));
  }
  LH_ASSIGN_OR_RETURN(model.output_norm, source.Vector("output_norm.weight", config.width));
  if (source.Has("output.weight")) {
    LH_ASSIGN_OR_RETURN(model.output, source.Matrix("output.weight", config.vocabulary_size, config.width));
  }
  LH_RETURN_IF_ERROR(source.CheckAllUsed());
  for (const GgufTensor& tensor : gguf->tensors()) model.parameters += tensor.elements;
  model.layers_quantized = AnyQuantized(model.layers.front());
  model.gguf = std::move(gguf);
  return model;
}

}  // namespace longhaul
