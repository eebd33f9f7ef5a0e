#include "engine/model/single_runner.h"

#include <utility>

#include "engine/base/exceptions.h"
#include "engine/base/status_macros.h"

namespace longhaul {

absl::StatusOr<std::unique_ptr<SingleRunner>> SingleRunner::Create(const ModelFile& model,
                                                                   const SingleRunnerOptions& options,
                                                                   const StopCondition& stopped) {
  auto runner = std::unique_ptr<SingleRunner>(new SingleRunner);
  BackendOptions backend_options = options.backend;
  backend_options.layers_quantized = model.layers_quantized;
  LH_ASSIGN_OR_RETURN(std::unique_ptr<Backend> backend, CreateBackend(backend_options));
  runner->backend_ = std::make_unique<CheckedBackend>(std::move(backend));

  const ModelConfig& config = model.config;
  const CacheShape shape{.n_layers = config.n_layers,
                         .n_heads = config.n_heads,
                         .n_kv_heads = config.n_kv_heads,
                         .head_dim = config.head_dim};
  // Checked before the weights are read, which takes long.
  LH_ASSIGN_OR_RETURN(const CacheGeometry geometry, runner->backend_->PlanCache(shape, options.kv_cache_bytes));
  RunnerInfo& info = runner->info_;
  TensorReader reader(*model.checkpoint, runner->backend_->info().threads, stopped);
  LH_ASSIGN_OR_RETURN(runner->transformer_, Transformer::Create(model, reader, options.limits, *runner->backend_));
  LH_ASSIGN_OR_RETURN(info.file_digest, reader.Finish());
  LH_RETURN_IF_ERROR(runner->backend_->AllocateCache(shape, geometry, options.limits));
  info.backend = runner->backend_->info();
  info.limits = options.limits;
  info.geometry = geometry;
  info.one_step_ahead = options.one_step_ahead;
  runner->bounds_ = {.limits = options.limits,
                     .geometry = geometry,
                     .head_dim = config.head_dim,
                     .vocabulary_size = runner->backend_->vocabulary_size()};
  return runner;
}

absl::StatusOr<Ticket> SingleRunner::Submit(Batch batch) {
  Ticket ticket{};
  const absl::Status status = CatchExceptions([&]() -> absl::Status {
    LH_RETURN_IF_ERROR(CheckBatch(batch, bounds_, drew_));
    std::vector<bool> draws(batch.groups.size());
    for (size_t g = 0; g < draws.size(); ++g) draws[g] = batch.groups[g].draw.has_value();
    LH_RETURN_IF_ERROR(backend_->BeginStep(batch));
    transformer_->Forward(batch);
    ticket = backend_->EndStep();
    drew_ = std::move(draws);
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  return ticket;
}

}  // namespace longhaul
