#pragma once

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/backend/backend_factory.h"
#include "engine/backend/checked_backend.h"
#include "engine/base/stop_condition.h"
#include "engine/model/runner.h"
#include "engine/model/transformer.h"

namespace longhaul {

struct SingleRunnerOptions {
  BackendOptions backend;      // layers_quantized is taken from the model
  int64_t kv_cache_bytes = 0;  // of the whole cache
  StepLimits limits;
  bool one_step_ahead = false;  // see RunnerInfo; on a CPU for tests only
};

// One transformer on one backend.
class SingleRunner final : public Runner {
 public:
  // Creates the backend and reads the whole model, in the order weights, activations, cache; `model` is not needed
  // afterwards. RESOURCE_EXHAUSTED when `kv_cache_bytes` hold no block, CANCELLED soon after `stopped` holds, else as
  // TensorReader, Transformer::Create and CreateBackend.
  static absl::StatusOr<std::unique_ptr<SingleRunner>> Create(const ModelFile& model,
                                                              const SingleRunnerOptions& options,
                                                              const StopCondition& stopped = {});

  const RunnerInfo& info() const override { return info_; }
  absl::StatusOr<Ticket> Submit(Batch batch) override;
  absl::StatusOr<StepResult> Collect(Ticket ticket) override { return backend_->Collect(ticket); }

  // For tests.
  Transformer& transformer() { return *transformer_; }

 private:
  SingleRunner() = default;

  std::unique_ptr<CheckedBackend> backend_;
  std::unique_ptr<Transformer> transformer_;
  RunnerInfo info_;
  BatchBounds bounds_;
  std::vector<bool> drew_;  // of each group of the last step whether it drew a token
};

}  // namespace longhaul
