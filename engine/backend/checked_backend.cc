#include "engine/backend/checked_backend.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"

namespace longhaul {
namespace {

// `ordered`: how many rows, or elements of a vector, its row_order puts into order.
absl::Status CheckTensor(const HostTensor& part, int64_t columns, int64_t ordered) {
  const TensorTypeInfo& info = Info(part.type);
  if (part.rows < 1 || part.columns < 1 || part.data == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat("tensor '", part.name, "' is empty"));
  }
  if (part.columns != columns) {
    return absl::InvalidArgumentError(absl::StrCat("tensor '", part.name, "' has ", part.columns,
                                                   " columns, the others that it is stacked with have ", columns));
  }
  if (part.columns % info.block_elements != 0) {
    return absl::InvalidArgumentError(absl::StrCat("tensor '", part.name, "' has ", part.columns,
                                                   " columns, which is no multiple of its type's block of ",
                                                   info.block_elements));
  }
  if (part.row_order.empty()) return absl::OkStatus();
  if (static_cast<int64_t>(part.row_order.size()) != ordered) {
    return absl::InvalidArgumentError(
        absl::StrCat("tensor '", part.name, "' has ", ordered, " rows, its row order ", part.row_order.size()));
  }
  for (int32_t row : part.row_order) {
    if (row < 0 || row >= ordered) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor '", part.name, "' has ", ordered, " rows, its row order names row ", row));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<WeightId> CheckedBackend::PackMatrix(std::span<const HostTensor> parts) {
  if (parts.empty()) return absl::InvalidArgumentError("a matrix of no tensors");
  int64_t rows = 0;
  for (const HostTensor& part : parts) {
    LH_RETURN_IF_ERROR(CheckTensor(part, parts.front().columns, part.rows));
    rows += part.rows;
  }
  return Packed(backend_->PackMatrix(parts), WeightKind::kMatrix, rows, parts.front().columns);
}

absl::StatusOr<WeightId> CheckedBackend::PackEmbedding(const HostTensor& table) {
  LH_RETURN_IF_ERROR(CheckTensor(table, table.columns, table.rows));
  LH_ASSIGN_OR_RETURN(const WeightId id,
                      Packed(backend_->PackEmbedding(table), WeightKind::kEmbedding, table.rows, table.columns));
  vocabulary_size_ = std::min(vocabulary_size_, table.rows);
  return id;
}

absl::StatusOr<WeightId> CheckedBackend::PackVector(std::span<const HostTensor> parts) {
  if (parts.empty()) return absl::InvalidArgumentError("a vector of no tensors");
  int64_t width = 0;
  for (const HostTensor& part : parts) {
    LH_RETURN_IF_ERROR(CheckTensor(part, part.columns, part.columns));
    if (part.rows != 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor '", part.name, "' has ", part.rows, " rows: a vector has one"));
    }
    width += part.columns;
  }
  return Packed(backend_->PackVector(parts), WeightKind::kVector, 1, width);
}

absl::StatusOr<WeightId> CheckedBackend::Packed(absl::StatusOr<WeightId> id, WeightKind kind, int64_t rows,
                                                int64_t columns) {
  if (!id.ok()) return id;
  weights_.resize(std::max(weights_.size(), static_cast<size_t>(*id) + 1));
  weights_[static_cast<size_t>(*id)] = {kind, rows, columns};
  return id;
}

absl::StatusOr<ActivationId> CheckedBackend::AllocateActivation(int64_t max_rows, int64_t width) {
  if (max_rows < 0 || width < 1) {
    return absl::InvalidArgumentError(absl::StrCat("an activation of ", max_rows, " x ", width));
  }
  LH_ASSIGN_OR_RETURN(const ActivationId id, backend_->AllocateActivation(max_rows, width));
  activations_.resize(std::max(activations_.size(), static_cast<size_t>(id) + 1));
  activations_[static_cast<size_t>(id)] = {max_rows, width};
  return id;
}

absl::Status CheckedBackend::AllocateCache(const CacheShape& shape, const CacheGeometry& geometry,
                                           const StepLimits& limits) {
  if (has_cache_) return absl::FailedPreconditionError("the KV cache is there already");
  LH_RETURN_IF_ERROR(backend_->AllocateCache(shape, geometry, limits));
  shape_ = shape;
  has_cache_ = true;
  return absl::OkStatus();
}

absl::Status CheckedBackend::BeginStep(const Batch& batch) {
  if (!has_cache_) return absl::FailedPreconditionError("no KV cache was allocated");
  n_tokens_ = batch.n_tokens();
  n_logit_rows_ = batch.n_logit_rows();
  status_ = absl::OkStatus();
  failed_.reserve(failed_.size() + 1);  // EndStep takes no memory
  return backend_->BeginStep(batch);
}

void CheckedBackend::Embed(WeightId table, ActivationId out) {
  const Weight weight = WeightAt(table, WeightKind::kEmbedding);
  if (Holds(out, n_tokens_, weight.columns, "Embed")) backend_->Embed(table, out);
}

void CheckedBackend::RmsNorm(ActivationId in, WeightId weight, float epsilon, ActivationId out) {
  const Activation from = At(in);
  if (Is(WeightAt(weight, WeightKind::kVector).columns == from.width, "RmsNorm: width") &&
      Holds(out, from.rows, from.width, "RmsNorm")) {
    backend_->RmsNorm(in, weight, epsilon, out);
  }
}

void CheckedBackend::RmsNormSlices(ActivationId inout, int64_t first, int64_t slices, WeightId weight, float epsilon) {
  const int64_t width = WeightAt(weight, WeightKind::kVector).columns;
  if (Is(width > 0 && first >= 0 && slices >= 1 && first + slices * width <= At(inout).width, "RmsNormSlices")) {
    backend_->RmsNormSlices(inout, first, slices, weight, epsilon);
  }
}

void CheckedBackend::Linear(ActivationId in, WeightId matrix, std::optional<WeightId> bias, Epilogue epilogue,
                            ActivationId out) {
  const Weight weight = WeightAt(matrix, WeightKind::kMatrix);
  const Activation from = At(in);
  if (Is(weight.columns == from.width, "Linear: columns") &&
      Is(!bias || WeightAt(*bias, WeightKind::kVector).columns == weight.rows, "Linear: bias") &&
      Is(epilogue == Epilogue::kStore || At(out).rows == from.rows, "Linear: rows to add to") &&
      Holds(out, from.rows, weight.rows, "Linear")) {
    backend_->Linear(in, matrix, bias, epilogue, out);
  }
}

void CheckedBackend::Attention(int64_t layer, ActivationId qkv, ActivationId out) {
  const Activation from = At(qkv);
  if (Is(layer >= 0 && layer < shape_.n_layers, "Attention: layer") &&
      Is(from.rows == n_tokens_ && from.width == (shape_.n_heads + 2 * shape_.n_kv_heads) * shape_.head_dim,
         "Attention: queries, keys and values") &&
      Holds(out, from.rows, shape_.n_heads * shape_.head_dim, "Attention")) {
    backend_->Attention(layer, qkv, out);
  }
}

void CheckedBackend::SwiGlu(ActivationId in, ActivationId out) {
  const Activation from = At(in);
  const int64_t width = At(out).width;
  if (Is(from.width == 2 * width, "SwiGlu: width") && Holds(out, from.rows, width, "SwiGlu")) {
    backend_->SwiGlu(in, out);
  }
}

void CheckedBackend::GatherLogitRows(ActivationId in, ActivationId out) {
  const Activation from = At(in);
  if (Is(from.rows == n_tokens_, "GatherLogitRows: rows") && Holds(out, n_logit_rows_, from.width, "GatherLogitRows")) {
    backend_->GatherLogitRows(in, out);
  }
}

void CheckedBackend::ChooseTokens(ActivationId logits) {
  const Activation from = At(logits);
  if (Is(from.rows == n_logit_rows_, "ChooseTokens: rows") &&
      Is(from.width == vocabulary_size_, "ChooseTokens: vocabulary")) {
    backend_->ChooseTokens(logits);
  }
}

Ticket CheckedBackend::EndStep() {
  const Ticket ticket = backend_->EndStep();
  if (!status_.ok()) failed_.push_back({ticket, std::move(status_)});
  return ticket;
}

absl::StatusOr<StepResult> CheckedBackend::Collect(Ticket ticket) {
  absl::StatusOr<StepResult> result = backend_->Collect(ticket);
  const auto failed = std::find_if(failed_.begin(), failed_.end(), [&](const Step& s) { return s.ticket == ticket; });
  if (failed == failed_.end()) return result;
  absl::Status status = std::move(failed->status);
  failed_.erase(failed);
  return status;
}

CheckedBackend::Weight CheckedBackend::WeightAt(WeightId id, WeightKind kind) const {
  const auto index = static_cast<size_t>(id);
  if (index < weights_.size() && weights_[index].kind == kind) return weights_[index];
  return {};
}

const CheckedBackend::Activation& CheckedBackend::At(ActivationId id) const {
  static const Activation kNone;
  const auto index = static_cast<size_t>(id);
  return index < activations_.size() ? activations_[index] : kNone;
}

bool CheckedBackend::Is(bool right, const char* what) {
  if (!right && status_.ok()) status_ = absl::InternalError(absl::StrCat("shapes do not fit: ", what));
  return right;
}

bool CheckedBackend::Holds(ActivationId id, int64_t rows, int64_t width, const char* what) {
  const Activation& activation = At(id);
  if (!Is(width > 0 && rows <= activation.max_rows && width == activation.width, what)) return false;
  activations_[static_cast<size_t>(id)].rows = rows;
  return true;
}

}  // namespace longhaul
