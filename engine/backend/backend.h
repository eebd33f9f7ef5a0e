#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/backend/batch.h"
#include "engine/backend/tensor_type.h"
#include "engine/backend/types.h"

namespace longhaul {

// A matrix (or a vector, rows = 1) as it lies in a model file: `rows` outputs of `columns` inputs, row after row.
struct HostTensor {
  std::string name;  // for messages
  TensorType type = TensorType::kF32;
  int64_t rows = 0;
  int64_t columns = 0;
  const std::byte* data = nullptr;
  std::shared_ptr<const void> owner;  // keeps the bytes alive; null: they outlive all users
  // The order in which the rows are used: row_order[i] is the file's row of output i; of a vector, its elements. Empty:
  // as they lie.
  std::vector<int32_t> row_order;
};

// Handles that a backend gave out. Opaque; valid while the backend lives.
enum class WeightId : int32_t {};
enum class ActivationId : int32_t {};
// A step that was begun and whose result has not been collected.
enum class Ticket : int64_t {};

// The largest head_dim; every backend supports it.
inline constexpr int64_t kMaxHeadDim = 1024;

// What attention needs of a model.
struct CacheShape {
  int64_t n_layers = 0;
  int64_t n_heads = 0;  // query heads, a multiple of n_kv_heads
  int64_t n_kv_heads = 0;
  int64_t head_dim = 0;  // even, at most kMaxHeadDim
};

// What a backend says of itself; constant.
struct BackendInfo {
  std::string name;             // "cpu"
  std::string instruction_set;  // "avx512+vnni+bf16"
  int threads = 0;
  ComputeType compute_type = ComputeType::kF32;
  CacheType cache_type = CacheType::kF32;
};

// What Linear does with its result: stores it, or adds it to what is there.
enum class Epilogue { kStore, kAdd };

// The operations that a transformer is written in; one implementation per kind of device. One thread at a time. Batches
// and shapes are checked before a backend is asked: see CheckBatch and CheckedBackend. Weights, activations and the
// cache are allocated before the first step; the scratch of a step is bounded by StepLimits and the tokens that the
// cache holds. Activations are f32 matrices [rows, width] in the memory of the device; each operation sets the number
// of rows of its output. A row of a result depends on its own input row alone (engine/README.md, "Equal to the bit").
class Backend {
 public:
  virtual ~Backend() = default;

  virtual const BackendInfo& info() const = 0;

  // --- Before the first step ---

  // Packs a matrix for Linear: the parts stacked along their outputs; each keeps its own type. INVALID_ARGUMENT when
  // the columns differ or are no multiple of a type's block, RESOURCE_EXHAUSTED without memory.
  virtual absl::StatusOr<WeightId> PackMatrix(std::span<const HostTensor> parts) = 0;
  // Keeps or copies a table [vocabulary, width] for Embed.
  virtual absl::StatusOr<WeightId> PackEmbedding(const HostTensor& table) = 0;
  // Copies vectors, one behind the other, into one [width]: for RmsNorm, RmsNormSlices and the bias of Linear.
  virtual absl::StatusOr<WeightId> PackVector(std::span<const HostTensor> parts) = 0;
  // An activation of up to [max_rows, width]. RESOURCE_EXHAUSTED without memory.
  virtual absl::StatusOr<ActivationId> AllocateActivation(int64_t max_rows, int64_t width) = 0;
  // How a cache of `bytes` would be cut into blocks; allocates nothing. RESOURCE_EXHAUSTED when that is less than a
  // block, INVALID_ARGUMENT when the shape is not valid.
  virtual absl::StatusOr<CacheGeometry> PlanCache(const CacheShape& shape, int64_t bytes) const = 0;
  // Also takes the memory that steps of these limits work with, as far as it does not depend on the length of their
  // rows. REQUIRES: `geometry` is of PlanCache; called once, last.
  virtual absl::Status AllocateCache(const CacheShape& shape, const CacheGeometry& geometry,
                                     const StepLimits& limits) = 0;

  // --- One step: BeginStep, operations, EndStep; then Collect ---
  //
  // Where there is no memory, BeginStep and the operations may throw std::bad_alloc. Then the step is over without an
  // EndStep: what it should have written to the cache is not there, and all else is as before it.

  // `batch` lives until EndStep. RESOURCE_EXHAUSTED where there is no memory for it; then nothing has happened.
  // REQUIRES: CheckBatch accepted it.
  virtual absl::Status BeginStep(const Batch& batch) = 0;

  // out[t, :] = table[tokens[t], :], [n_tokens, width]
  virtual void Embed(WeightId table, ActivationId out) = 0;

  // out[r, :] = in[r, :] / sqrt(mean(in[r, :]^2) + epsilon) * weight
  virtual void RmsNorm(ActivationId in, WeightId weight, float epsilon, ActivationId out) = 0;

  // The same, in place, for `slices` parts of each row, each as wide as the weight, from column `first` on: each by
  // itself.
  virtual void RmsNormSlices(ActivationId inout, int64_t first, int64_t slices, WeightId weight, float epsilon) = 0;

  // out[r, n] (+)= sum_k in[r, k] * matrix[n, k], in one order of summation; then + bias[n], where there is one.
  virtual void Linear(ActivationId in, WeightId matrix, std::optional<WeightId> bias, Epilogue epilogue,
                      ActivationId out) = 0;

  // qkv[t] = (queries [n_heads, head_dim], keys [n_kv_heads, head_dim], values [n_kv_heads, head_dim]) of each new
  // token, rotary pairs half-split: (i, i + rotary_dims / 2). Rotates queries and keys by the row's plan,
  // writes keys and values to the cache, and attends: out[t] = [n_heads, head_dim], softmax(q k / sqrt(head_dim)) v
  // over the keys 0..position.
  virtual void Attention(int64_t layer, ActivationId qkv, ActivationId out) = 0;

  // out[r, i] = silu(in[r, i]) * in[r, width + i], where in is [rows, 2 * width] and out [rows, width].
  virtual void SwiGlu(ActivationId in, ActivationId out) = 0;

  // out = the rows of `in` whose logits are wanted, [n_logit_rows, width]
  virtual void GatherLogitRows(ActivationId in, ActivationId out) = 0;

  // Scores the targets and draws the tokens of the groups from logits [n_logit_rows, vocabulary]. What a group drew and
  // chose is kept for the next step, whose tokens may name it (DrawnBy).
  virtual void ChooseTokens(ActivationId logits) = 0;

  // Ends the step that was begun; its result is for Collect.
  virtual Ticket EndStep() = 0;

  // Waits for a step and returns its result. REQUIRES: each ticket once, in order.
  virtual absl::StatusOr<StepResult> Collect(Ticket ticket) = 0;

  // --- For tests ---

  // Copies an activation of the last step to the host, [rows, width] row-major.
  virtual std::vector<float> Read(ActivationId activation) = 0;
};

}  // namespace longhaul
