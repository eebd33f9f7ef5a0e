#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "engine/backend/batch.h"
#include "engine/backend/cpu/attention/kv_cache.h"
#include "engine/backend/cpu/worker_pool.h"
#include "engine/position/plan_angles.h"

namespace longhaul::cpu {

// The attention of one step: rotates, writes the new keys and values, then reads keys and values from the cache only.
class Attention {
 public:
  // The rotations of a plan, for a cache that holds so many positions.
  using MakeAngles = std::function<std::unique_ptr<const PlanAngles>(const RotaryPlan& plan, int64_t max_positions)>;

  // Neither is owned; both outlive it. max_tokens: of a step. make_angles: PlanAngles of the plan, but in tests. Throws
  // std::bad_alloc where there is no memory.
  Attention(KvCache& cache, int64_t max_tokens, WorkerPool& pool);
  Attention(KvCache& cache, int64_t max_tokens, WorkerPool& pool, MakeAngles make_angles);
  ~Attention();

  // Takes note of the rows and works out the cosines and sines of every new token, once for all layers.
  // Throws std::bad_alloc where there is no memory; the next step may be begun all the same.
  // REQUIRES: the batch fits the cache (see CheckBatch in batch_check.h), has max_tokens at most and outlives the step.
  void BeginStep(const Batch& batch);

  // As Backend::Attention: qkv [n_tokens, (n_heads + 2 n_kv_heads) * head_dim] is overwritten; out [n_tokens,
  // n_heads * head_dim].
  void Run(int64_t layer, float* qkv, float* out);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace longhaul::cpu
