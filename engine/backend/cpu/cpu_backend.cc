#include "engine/backend/cpu/cpu_backend.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/backend/cpu/aligned_floats.h"
#include "engine/backend/cpu/attention.h"
#include "engine/backend/cpu/dequantize.h"
#include "engine/backend/cpu/packed_matrix.h"
#include "engine/backend/cpu/row_ops.h"
#include "engine/backend/cpu/worker_pool.h"
#include "engine/base/instruction_set.h"
#include "engine/base/status_macros.h"
#include "engine/decoding/log_softmax.h"

namespace longhaul {
namespace {

// Rows of one piece of an operation on single rows.
constexpr int64_t kRowsPerPiece = 8;

// A weight is one of the three kinds that PackMatrix, PackEmbedding and PackVector make.
struct Weight {
  cpu::PackedMatrixPtr matrix;
  std::optional<HostTensor> table;
  std::vector<float> vector;
};

struct Activation {
  cpu::AlignedFloats values;  // [max_rows, width]
  int64_t max_rows = 0, width = 0;
  int64_t rows = 0;  // of the present step

  float* Row(int64_t row) { return values.get() + row * width; }
};

class CpuBackend : public Backend {
 public:
  CpuBackend(const CpuBackendOptions& options, int threads)
      : info_{.name = "cpu",
              .instruction_set = std::string(InstructionSetName(ActiveInstructionSet())),
              .compute_type = options.compute_type,
              .cache_type = options.cache_type},
        pool_(threads) {}

  const BackendInfo& info() const override { return info_; }

  absl::StatusOr<WeightId> PackMatrix(std::span<const HostTensor> parts) override;
  absl::StatusOr<WeightId> PackEmbedding(const HostTensor& table) override;
  absl::StatusOr<WeightId> PackVector(const HostTensor& vector) override;
  absl::Status AllocateCache(const CacheShape& shape) override;
  absl::StatusOr<ActivationId> AllocateActivation(int64_t max_rows, int64_t width) override;

  absl::Status BeginStep(const Batch& batch) override;
  void Embed(WeightId table, ActivationId out) override;
  void RmsNorm(ActivationId in, WeightId weight, float epsilon, ActivationId out) override;
  void Linear(ActivationId in, WeightId matrix, Epilogue epilogue, ActivationId out) override;
  void Attention(int64_t layer, ActivationId qkv, ActivationId out) override;
  void SwiGlu(ActivationId in, ActivationId out) override;
  void GatherLogitRows(ActivationId in, ActivationId out) override;
  void Decode(ActivationId logits) override;
  Ticket EndStep() override;
  absl::StatusOr<StepResult> Collect(Ticket ticket) override;
  std::vector<float> Read(ActivationId activation) override;

 private:
  Weight& At(WeightId id) { return weights_[static_cast<size_t>(id)]; }
  Activation& At(ActivationId id) { return activations_[static_cast<size_t>(id)]; }
  WeightId Add(Weight weight) {
    weights_.push_back(std::move(weight));
    return static_cast<WeightId>(weights_.size() - 1);
  }
  // Calls work(row) for each row, in pieces of kRowsPerPiece.
  template <typename Work>
  void ForRows(int64_t rows, Work work) {
    pool_.ParallelFor((rows + kRowsPerPiece - 1) / kRowsPerPiece, [&](int64_t piece, int) {
      for (int64_t row = piece * kRowsPerPiece; row < std::min(rows, (piece + 1) * kRowsPerPiece); ++row) work(row);
    });
  }

  BackendInfo info_;
  cpu::WorkerPool pool_;
  cpu::ProductScratch scratch_;
  std::vector<Weight> weights_;
  std::vector<Activation> activations_;
  std::unique_ptr<cpu::KvCache> cache_;
  std::unique_ptr<cpu::Attention> attention_;
  int64_t vocabulary_size_ = 0;  // rows of the embedding

  const Batch* batch_ = nullptr;
  StepResult result_;
  int64_t steps_ = 0;
};

absl::Status CheckBlocks(const HostTensor& tensor) {
  const TensorTypeInfo& type = Info(tensor.type);
  if (tensor.rows >= 1 && tensor.columns >= 1 && tensor.columns % type.block_elements == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(tensor.name, ": ", tensor.rows, " rows of ", tensor.columns,
                                                 " columns; rows must be whole blocks of ", type.block_elements));
}

absl::StatusOr<WeightId> CpuBackend::PackMatrix(std::span<const HostTensor> parts) {
  Weight weight;
  LH_ASSIGN_OR_RETURN(weight.matrix, cpu::Pack(parts, info_.compute_type, pool_));
  return Add(std::move(weight));
}

absl::StatusOr<WeightId> CpuBackend::PackEmbedding(const HostTensor& table) {
  LH_RETURN_IF_ERROR(CheckBlocks(table));
  vocabulary_size_ = table.rows;
  Weight weight;
  weight.table = table;
  return Add(std::move(weight));
}

absl::StatusOr<WeightId> CpuBackend::PackVector(const HostTensor& vector) {
  LH_RETURN_IF_ERROR(CheckBlocks(vector));
  Weight weight;
  weight.vector.resize(static_cast<size_t>(vector.columns));
  cpu::DequantizeRow(vector.type, vector.data, vector.columns, weight.vector.data());
  return Add(std::move(weight));
}

absl::Status CpuBackend::AllocateCache(const CacheShape& shape) {
  LH_ASSIGN_OR_RETURN(cache_, cpu::KvCache::Create(shape, info_.cache_type));
  attention_ = std::make_unique<cpu::Attention>(*cache_, pool_);
  return absl::OkStatus();
}

absl::StatusOr<ActivationId> CpuBackend::AllocateActivation(int64_t max_rows, int64_t width) {
  Activation activation;
  activation.values = cpu::AllocateFloats(max_rows * width);
  if (activation.values == nullptr) {
    return absl::ResourceExhaustedError(absl::StrCat("no memory for activations of ", max_rows, " x ", width));
  }
  activation.max_rows = max_rows;
  activation.width = width;
  activations_.push_back(std::move(activation));
  return static_cast<ActivationId>(activations_.size() - 1);
}

absl::Status CpuBackend::BeginStep(const Batch& batch) {
  for (size_t i = 0; i < batch.tokens.size(); ++i) {
    if (batch.tokens[i] < 0 || batch.tokens[i] >= vocabulary_size_) {
      return absl::InvalidArgumentError(absl::StrCat("batch: token ", i, " has the id ", batch.tokens[i],
                                                     ", the vocabulary holds ", vocabulary_size_));
    }
  }
  for (size_t r = 0; r < batch.rows.size(); ++r) {
    const BatchRow& row = batch.rows[r];
    if (row.length + row.n_new > static_cast<int64_t>(row.block_table.size()) * kBlockTokens) {
      return absl::InvalidArgumentError(absl::StrCat("batch: row ", r, " of ", row.length + row.n_new, " tokens has ",
                                                     row.block_table.size(), " blocks of ", kBlockTokens));
    }
  }
  batch_ = &batch;
  result_ = StepResult();
  result_.groups.resize(batch.groups.size());
  attention_->BeginStep(batch);
  return absl::OkStatus();
}

void CpuBackend::Embed(WeightId table_id, ActivationId out_id) {
  const HostTensor& table = *At(table_id).table;
  Activation& out = At(out_id);
  out.rows = batch_->n_tokens();
  const int64_t row_bytes = RowBytes(table.type, table.columns);
  ForRows(out.rows, [&](int64_t row) {
    const int64_t id = batch_->tokens[static_cast<size_t>(row)];
    cpu::DequantizeRow(table.type, table.data + id * row_bytes, table.columns, out.Row(row));
  });
}

void CpuBackend::RmsNorm(ActivationId in_id, WeightId weight, float epsilon, ActivationId out_id) {
  Activation &in = At(in_id), &out = At(out_id);
  out.rows = in.rows;
  const float* scale = At(weight).vector.data();
  ForRows(in.rows, [&](int64_t row) { cpu::RmsNormRow(in.Row(row), scale, epsilon, in.width, out.Row(row)); });
}

void CpuBackend::Linear(ActivationId in_id, WeightId matrix, Epilogue epilogue, ActivationId out_id) {
  Activation &in = At(in_id), &out = At(out_id);
  out.rows = in.rows;
  cpu::Multiply(in.values.get(), in.rows, *At(matrix).matrix, epilogue, out.values.get(), scratch_, pool_);
}

void CpuBackend::Attention(int64_t layer, ActivationId qkv, ActivationId out_id) {
  Activation& out = At(out_id);
  out.rows = batch_->n_tokens();
  attention_->Run(layer, At(qkv).values.get(), out.values.get());
}

void CpuBackend::SwiGlu(ActivationId in_id, ActivationId out_id) {
  Activation &in = At(in_id), &out = At(out_id);
  out.rows = in.rows;
  ForRows(in.rows, [&](int64_t row) { cpu::SwiGluRow(in.Row(row), in.Row(row) + out.width, out.width, out.Row(row)); });
}

void CpuBackend::GatherLogitRows(ActivationId in_id, ActivationId out_id) {
  Activation &in = At(in_id), &out = At(out_id);
  out.rows = 0;
  for (const BatchRow& row : batch_->rows) {
    for (int64_t i = row.first_logit; i < row.n_new; ++i) {
      std::memcpy(out.Row(out.rows++), in.Row(row.first_token + i), static_cast<size_t>(in.width) * sizeof(float));
    }
  }
}

void CpuBackend::Decode(ActivationId logits_id) {
  Activation& logits = At(logits_id);
  const auto row_of = [&](int64_t row) {
    return std::span<const float>(logits.Row(row), static_cast<size_t>(logits.width));
  };
  std::vector<int64_t> last_logit_row;  // [rows of the batch]
  int64_t n_logit_rows = 0;
  for (const BatchRow& row : batch_->rows) {
    n_logit_rows += row.n_new - row.first_logit;
    last_logit_row.push_back(n_logit_rows - 1);
  }
  // What is to be done, each by itself: sample for a group, or score a logit row.
  struct Work {
    const SamplerInput* sampler;
    size_t result;
    int64_t logit_row;
  };
  std::vector<Work> work;
  for (size_t g = 0; g < batch_->groups.size(); ++g) {
    const BatchGroup& group = batch_->groups[g];
    if (group.sampler != nullptr)
      work.push_back({group.sampler, g, last_logit_row[static_cast<size_t>(group.first_row)]});
  }
  for (size_t i = 0; i < batch_->targets.size(); ++i) {
    if (batch_->targets[i] >= 0) work.push_back({nullptr, result_.scores.size(), static_cast<int64_t>(i)});
    if (batch_->targets[i] >= 0) result_.scores.emplace_back();
  }
  pool_.ParallelFor(static_cast<int64_t>(work.size()), [&](int64_t piece, int) {
    const auto& [sampler, result, logit_row] = work[static_cast<size_t>(piece)];
    const std::span<const float> row = row_of(logit_row);
    if (sampler != nullptr) {
      result_.groups[result] = Sample(row, *sampler);
      return;
    }
    const auto target = static_cast<size_t>(batch_->targets[static_cast<size_t>(logit_row)]);
    const float log_sum_exp = LogSumExp(row);
    TokenScore& score = result_.scores[result];
    score.logprob = LogProbability(row[target], log_sum_exp);
    if (batch_->top_scores > 0) score.top = TopLogprobs(row, log_sum_exp, batch_->top_scores);
  });
}

Ticket CpuBackend::EndStep() {
  batch_ = nullptr;
  return static_cast<Ticket>(++steps_);
}

absl::StatusOr<StepResult> CpuBackend::Collect(Ticket ticket) {
  if (static_cast<int64_t>(ticket) != steps_) {
    return absl::InternalError(absl::StrCat("no result of step ", static_cast<int64_t>(ticket),
                                            ": it was collected, "
                                            "or another step was begun"));
  }
  return std::move(result_);
}

std::vector<float> CpuBackend::Read(ActivationId id) {
  Activation& activation = At(id);
  return std::vector<float>(activation.values.get(), activation.Row(activation.rows));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Backend>> CreateCpuBackend(const CpuBackendOptions& options) {
  if (options.compute_type == ComputeType::kAuto || options.cache_type == CacheType::kAuto) {
    return absl::InvalidArgumentError("the CPU backend needs a resolved compute type and KV cache type, not auto");
  }
  const int threads =
      options.threads > 0 ? options.threads : std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  return std::make_unique<CpuBackend>(options, threads);
}

}  // namespace longhaul
