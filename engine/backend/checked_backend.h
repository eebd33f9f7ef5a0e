#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "engine/backend/backend.h"

namespace longhaul {

// Checks tensors before they are packed and shapes before each operation, then forwards to the given backend. A shape
// that does not fit is a mistake of the caller: the operation is skipped, the step goes on, and its Collect returns
// INTERNAL. Batches are checked by CheckBatch. One thread at a time.
class CheckedBackend final : public Backend {
 public:
  explicit CheckedBackend(std::unique_ptr<Backend> backend) : backend_(std::move(backend)) {}

  const BackendInfo& info() const override { return backend_->info(); }
  absl::StatusOr<WeightId> PackMatrix(std::span<const HostTensor> parts) override;
  absl::StatusOr<WeightId> PackEmbedding(const HostTensor& table) override;
  absl::StatusOr<WeightId> PackVector(std::span<const HostTensor> parts) override;
  absl::StatusOr<ActivationId> AllocateActivation(int64_t max_rows, int64_t width) override;
  absl::StatusOr<CacheGeometry> PlanCache(const CacheShape& shape, int64_t bytes) const override {
    return backend_->PlanCache(shape, bytes);
  }
  absl::Status AllocateCache(const CacheShape& shape, const CacheGeometry& geometry, const StepLimits& limits) override;

  absl::Status BeginStep(const Batch& batch) override;
  void Embed(WeightId table, ActivationId out) override;
  void RmsNorm(ActivationId in, WeightId weight, float epsilon, ActivationId out) override;
  void RmsNormSlices(ActivationId inout, int64_t first, int64_t slices, WeightId weight, float epsilon) override;
  void Linear(ActivationId in, WeightId matrix, std::optional<WeightId> bias, Epilogue epilogue,
              ActivationId out) override;
  void Attention(int64_t layer, ActivationId qkv, ActivationId out) override;
  void SwiGlu(ActivationId in, ActivationId out) override;
  void GatherLogitRows(ActivationId in, ActivationId out) override;
  void ChooseTokens(ActivationId logits) override;
  Ticket EndStep() override;
  absl::StatusOr<StepResult> Collect(Ticket ticket) override;
  std::vector<float> Read(ActivationId activation) override { return backend_->Read(activation); }

  // Rows of the smallest embedding table: ids below this are in all of them.
  int64_t vocabulary_size() const { return vocabulary_size_; }

 private:
  enum class WeightKind { kMatrix, kEmbedding, kVector };
  struct Weight {
    WeightKind kind = WeightKind::kMatrix;
    int64_t rows = 0, columns = 0;
  };
  struct Activation {
    int64_t max_rows = 0, width = 0;
    int64_t rows = 0;  // in this step
  };
  struct Step {
    Ticket ticket;
    absl::Status status;
  };

  absl::StatusOr<WeightId> Packed(absl::StatusOr<WeightId> id, WeightKind kind, int64_t rows, int64_t columns);
  // The weight; empty (which fits nothing) where it is not of the kind.
  Weight WeightAt(WeightId id, WeightKind kind) const;
  const Activation& At(ActivationId id) const;
  // Records the mistake `what` unless `right`; returns `right`.
  bool Is(bool right, const char* what);
  // The same for an output: whether the activation can hold [rows, width]; if so it has these rows from now on.
  bool Holds(ActivationId id, int64_t rows, int64_t width, const char* what);

  const std::unique_ptr<Backend> backend_;
  std::vector<Weight> weights_;          // by WeightId
  std::vector<Activation> activations_;  // by ActivationId
  CacheShape shape_;
  bool has_cache_ = false;
  int64_t vocabulary_size_ = INT64_MAX;
  int64_t n_tokens_ = 0, n_logit_rows_ = 0;  // of the step at hand
  absl::Status status_;                      // of the step at hand
  std::vector<Step> failed_;                 // steps with a mistake that have not been collected
};

}  // namespace longhaul
