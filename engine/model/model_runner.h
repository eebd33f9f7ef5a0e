#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "engine/backend/backend.h"
#include "engine/base/stop_condition.h"
#include "engine/model/transformer.h"

namespace longhaul {

struct ModelRunnerOptions {
  ComputeType compute_type = ComputeType::kAuto;
  CacheType cache_type = CacheType::kAuto;
  int threads = 0;             // 0: one per core
  int64_t kv_cache_bytes = 0;  // at least one block
  StepLimits limits;
};

// A model on a backend: turns a batch into tokens and scores. One thread at a time.
class ModelRunner {
 public:
  // Chooses the backend, resolves the types and reads the whole file; afterwards nothing of `model` is needed.
  // RESOURCE_EXHAUSTED when the cache holds no block, CANCELLED soon after `stopped` holds, else what TensorReader
  // says.
  static absl::StatusOr<std::unique_ptr<ModelRunner>> Create(const ModelFile& model, const ModelRunnerOptions& options,
                                                             const StopCondition& stopped = {});

  // Begins a step. INVALID_ARGUMENT when the batch exceeds the limits.
  absl::StatusOr<Ticket> Step(const Batch& batch);
  absl::StatusOr<StepResult> Collect(Ticket ticket) { return backend_->Collect(ticket); }

  const BackendInfo& info() const { return backend_->info(); }
  int threads() const { return threads_; }
  int64_t n_blocks() const { return n_blocks_; }
  const StepLimits& limits() const { return limits_; }
  const std::string& file_digest() const { return file_digest_; }  // of every byte, see TensorReader::Finish

  // For tests.
  Transformer& transformer() { return *transformer_; }

 private:
  ModelRunner() = default;

  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Transformer> transformer_;
  StepLimits limits_;
  int threads_ = 0;
  int64_t n_blocks_ = 0;
  std::string file_digest_;
};

}  // namespace longhaul
