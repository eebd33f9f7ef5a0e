#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "absl/status/statusor.h"
#include "engine/backend/backend.h"
#include "engine/backend/cpu/matmul/weight_memory.h"
#include "engine/backend/cpu/worker_pool.h"

namespace longhaul::cpu {

// A matrix of weights in the order in which the matmuls read it: panels of 16 outputs, interleaved over k, in the codes
// of its own type (never expanded to float as a whole). Immutable once packed.
class PackedMatrix;
struct PackedMatrixDeleter {
  void operator()(PackedMatrix* matrix) const;
};
using PackedMatrixPtr = std::unique_ptr<PackedMatrix, PackedMatrixDeleter>;

// Packs the parts stacked along their outputs, for matmuls of `compute`. RESOURCE_EXHAUSTED without memory.
// REQUIRES: the tensors are right and go together (see CheckedBackend), and `compute` is resolved.
absl::StatusOr<PackedMatrixPtr> Pack(std::span<const HostTensor> parts, ComputeType compute, WeightMemory& memory,
                                     WorkerPool& pool);

int64_t Outputs(const PackedMatrix& matrix);
int64_t Columns(const PackedMatrix& matrix);
// Bytes that it takes.
int64_t Bytes(const PackedMatrix& matrix);

// Scratch that Multiply uses for rounded activations; grows to the largest product that it has seen, which depends on
// the shapes alone.
class MatmulScratch {
 public:
  MatmulScratch();
  ~MatmulScratch();
  MatmulScratch(const MatmulScratch&) = delete;
  MatmulScratch& operator=(const MatmulScratch&) = delete;

  // Takes what Multiply needs for so many rows and threads at most. Throws std::bad_alloc where there is no memory.
  void Reserve(const PackedMatrix& matrix, int64_t rows, int threads);

  struct Impl;
  Impl& impl() { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

// out[r, n] (+)= sum_k in[r, k] * matrix[n, k]; in [rows, Columns], out [rows, Outputs], row-major f32 and dense. One
// order of summation per output, whatever `rows` and the number of threads are.
void Multiply(const float* in, int64_t rows, const PackedMatrix& matrix, Epilogue epilogue, float* out,
              MatmulScratch& scratch, WorkerPool& pool);

}  // namespace longhaul::cpu
