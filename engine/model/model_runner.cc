#include "engine/model/model_runner.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/backend/cpu/attention/kv_cache.h"
#include "engine/backend/cpu/cpu_backend.h"
#include "engine/base/instruction_set.h"
#include "engine/base/status_macros.h"

namespace longhaul {

absl::StatusOr<std::unique_ptr<ModelRunner>> ModelRunner::Create(const ModelFile& model,
                                                                 const ModelRunnerOptions& options,
                                                                 const StopCondition& stopped) {
  auto runner = std::unique_ptr<ModelRunner>(new ModelRunner);
  runner->limits_ = options.limits;
  runner->threads_ =
      options.threads > 0 ? options.threads : std::max(1, static_cast<int>(std::thread::hardware_concurrency()));

  CpuBackendOptions backend_options;
  backend_options.threads = runner->threads_;
  backend_options.compute_type = ResolveComputeType(options.compute_type, model.layers_quantized, ActiveHasBf16());
  backend_options.cache_type = ResolveCacheType(options.cache_type, backend_options.compute_type);
  LH_ASSIGN_OR_RETURN(runner->backend_, CreateCpuBackend(backend_options));

  const ModelConfig& config = model.config;
  CacheShape shape;
  shape.n_layers = config.n_layers;
  shape.n_heads = config.n_heads;
  shape.n_kv_heads = config.n_kv_heads;
  shape.head_dim = config.head_dim;
  const int64_t block_bytes = cpu::CacheBlockBytes(shape, backend_options.cache_type);
  // Ids are 32 bits wide.
  shape.n_blocks = std::min<int64_t>(options.kv_cache_bytes / block_bytes, 1 << 30);
  if (shape.n_blocks < 1) {
    return absl::ResourceExhaustedError(absl::StrCat("--kv-cache-memory: a KV cache of ", options.kv_cache_bytes,
                                                     " bytes holds no block: one takes ", block_bytes, " bytes"));
  }
  shape.max_positions = shape.n_blocks * kBlockTokens;
  runner->n_blocks_ = shape.n_blocks;
  LH_RETURN_IF_ERROR(runner->backend_->AllocateCache(shape));
  TensorReader reader(*model.gguf, runner->threads_, stopped);
  LH_ASSIGN_OR_RETURN(runner->transformer_, Transformer::Create(model, reader, options.limits, *runner->backend_));
  LH_ASSIGN_OR_RETURN(runner->file_digest_, reader.Finish());
  return runner;
}

absl::StatusOr<Ticket> ModelRunner::Step(const Batch& batch) {
  if (batch.n_tokens() < 1 || batch.n_tokens() > limits_.max_tokens) {
    return absl::InvalidArgumentError(
        absl::StrCat("a step of ", batch.n_tokens(), " tokens: allowed are 1 to ", limits_.max_tokens));
  }
  if (batch.n_logit_rows() > limits_.max_logit_rows) {
    return absl::InvalidArgumentError(
        absl::StrCat("a step of ", batch.n_logit_rows(), " logit rows: at most ", limits_.max_logit_rows));
  }
  LH_RETURN_IF_ERROR(backend_->BeginStep(batch));
  transformer_->Forward(batch);
  return backend_->EndStep();
}

}  // namespace longhaul
