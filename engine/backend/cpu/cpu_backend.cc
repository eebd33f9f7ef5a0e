#include "engine/backend/cpu/cpu_backend.h"

#include <algorithm>
#include <chrono>
#include <deque>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/backend/batch_check.h"
#include "engine/backend/cpu/aligned_floats.h"
#include "engine/backend/cpu/attention/attention.h"
#include "engine/backend/cpu/attention/kv_cache.h"
#include "engine/backend/cpu/logit_decoder.h"
#include "engine/backend/cpu/matmul/dequantize.h"
#include "engine/backend/cpu/matmul/packed_matrix.h"
#include "engine/backend/cpu/matmul/weight_memory.h"
#include "engine/backend/cpu/row_ops.h"
#include "engine/backend/cpu/worker_pool.h"
#include "engine/base/instruction_set.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"

namespace longhaul {
namespace {

using cpu::AlignedFloats;

// Rows that one piece of a row operation takes: some microseconds.
constexpr int64_t kPieceRows = 8;

// [rows, width], of which `rows` hold something in this step.
struct Activation {
  int64_t max_rows = 0;
  int64_t width = 0;
  AlignedFloats data;
  int64_t rows = 0;

  float* Row(int64_t row) { return data.get() + row * width; }
};

// What a WeightId stands for: one of three.
struct Weight {
  cpu::PackedMatrixPtr matrix;
  std::vector<float> vector;
  HostTensor table;
};

// Of a step that has ended.
struct Outcome {
  absl::Status status;
  StepResult result;
};

absl::Status CheckTensor(const HostTensor& tensor) {
  const int64_t block = Info(tensor.type).block_elements;
  if (tensor.data == nullptr || tensor.rows < 1 || tensor.columns < 1 || tensor.columns % block != 0) {
    return absl::InvalidArgumentError(absl::StrCat("tensor '", tensor.name, "' of ", tensor.rows, " rows and ",
                                                   tensor.columns, " columns: the columns come in blocks of ", block));
  }
  if (tensor.row_order.empty()) return absl::OkStatus();
  bool fits = static_cast<int64_t>(tensor.row_order.size()) == tensor.rows;
  for (int32_t row : tensor.row_order) fits = fits && row >= 0 && row < tensor.rows;
  if (fits) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("tensor '", tensor.name, "': the order of its rows does not fit"));
}

const std::byte* RowData(const HostTensor& tensor, int64_t row) {
  const int64_t file_row = tensor.row_order.empty() ? row : tensor.row_order[static_cast<size_t>(row)];
  return tensor.data + file_row * RowBytes(tensor.type, tensor.columns);
}

class CpuBackend final : public Backend {
 public:
  explicit CpuBackend(const CpuBackendOptions& options, int threads) : pool_(threads) {
    info_.name = "cpu";
    info_.instruction_set = std::string(InstructionSetName(ActiveInstructionSet()));
    info_.compute_type = options.compute_type;
    info_.cache_type = options.cache_type;
  }

  const BackendInfo& info() const override { return info_; }

  absl::StatusOr<WeightId> PackMatrix(std::span<const HostTensor> parts) override {
    Weight weight;
    LH_ASSIGN_OR_RETURN(weight.matrix, cpu::Pack(parts, info_.compute_type, memory_, pool_));
    return Add(std::move(weight));
  }

  absl::StatusOr<WeightId> PackEmbedding(const HostTensor& table) override {
    LH_RETURN_IF_ERROR(CheckTensor(table));
    // A token is checked once, against what every table has.
    vocabulary_size_ = std::min(vocabulary_size_, table.rows);
    Weight weight;
    weight.table = table;
    return Add(std::move(weight));
  }

  absl::StatusOr<WeightId> PackVector(const HostTensor& vector) override {
    LH_RETURN_IF_ERROR(CheckTensor(vector));
    if (vector.rows != 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor '", vector.name, "' has ", vector.rows, " rows: a vector has one"));
    }
    Weight weight;
    weight.vector.resize(static_cast<size_t>(vector.columns));
    cpu::DequantizeRow(vector.type, RowData(vector, 0), vector.columns, weight.vector.data());
    return Add(std::move(weight));
  }

  absl::Status AllocateCache(const CacheShape& shape) override {
    if (cache_ != nullptr) return absl::FailedPreconditionError("the KV cache is there already");
    LH_ASSIGN_OR_RETURN(cache_, cpu::KvCache::Create(shape, info_.cache_type));
    attention_ = std::make_unique<cpu::Attention>(*cache_, pool_);
    return absl::OkStatus();
  }

  absl::StatusOr<ActivationId> AllocateActivation(int64_t max_rows, int64_t width) override {
    Activation activation;
    activation.max_rows = max_rows;
    activation.width = width;
    int64_t size = 0;
    if (max_rows < 0 || width < 1) {
      return absl::InvalidArgumentError(absl::StrCat("an activation of ", max_rows, " x ", width));
    }
    if (!__builtin_mul_overflow(max_rows, width, &size)) activation.data = cpu::AllocateFloats(size);
    if (activation.data == nullptr) {
      return absl::ResourceExhaustedError(absl::StrCat("no memory for an activation of ", max_rows, " x ", width));
    }
    activations_.push_back(std::move(activation));
    return static_cast<ActivationId>(activations_.size() - 1);
  }

  absl::Status BeginStep(const Batch& batch) override {
    if (attention_ == nullptr) return absl::FailedPreconditionError("no KV cache was allocated");
    LH_RETURN_IF_ERROR(CheckBatch(batch, cache_->shape(), vocabulary_size_));
    batch_ = &batch;
    status_ = absl::OkStatus();
    result_ = StepResult();
    result_.groups.resize(batch.groups.size());
    result_.choices.resize(batch.groups.size());
    attention_->BeginStep(batch);
    return absl::OkStatus();
  }

  void Embed(WeightId table_id, ActivationId out_id) override {
    const HostTensor& table = At(table_id).table;
    Activation& out = At(out_id);
    if (!Holds(out, batch_->n_tokens(), table.columns, "Embed")) return;
    ForRows(out.rows, [&](int64_t row) {
      const TokenId token = batch_->tokens[static_cast<size_t>(row)];
      cpu::DequantizeRow(table.type, RowData(table, token), table.columns, out.Row(row));
    });
  }

  void RmsNorm(ActivationId in_id, WeightId weight_id, float epsilon, ActivationId out_id) override {
    const std::vector<float>& weight = At(weight_id).vector;
    Activation &in = At(in_id), &out = At(out_id);
    if (!Is(static_cast<int64_t>(weight.size()) == in.width, "RmsNorm: width") ||
        !Holds(out, in.rows, in.width, "RmsNorm")) {
      return;
    }
    ForRows(in.rows,
            [&](int64_t row) { cpu::RmsNormRow(in.Row(row), weight.data(), epsilon, in.width, out.Row(row)); });
  }

  void Linear(ActivationId in_id, WeightId matrix_id, Epilogue epilogue, ActivationId out_id) override {
    const cpu::PackedMatrix* matrix = At(matrix_id).matrix.get();
    Activation &in = At(in_id), &out = At(out_id);
    if (!Is(matrix != nullptr && cpu::Columns(*matrix) == in.width, "Linear: columns") ||
        !Is(epilogue == Epilogue::kStore || out.rows == in.rows, "Linear: rows to add to") ||
        !Holds(out, in.rows, cpu::Outputs(*matrix), "Linear")) {
      return;
    }
    cpu::Multiply(in.data.get(), in.rows, *matrix, epilogue, out.data.get(), matmul_scratch_, pool_);
  }

  void Attention(int64_t layer, ActivationId qkv_id, ActivationId out_id) override {
    const CacheShape& shape = cache_->shape();
    Activation &qkv = At(qkv_id), &out = At(out_id);
    if (!Is(layer >= 0 && layer < shape.n_layers, "Attention: layer") ||
        !Is(qkv.rows == batch_->n_tokens() && qkv.width == (shape.n_heads + 2 * shape.n_kv_heads) * shape.head_dim,
            "Attention: queries, keys and values") ||
        !Holds(out, qkv.rows, shape.n_heads * shape.head_dim, "Attention")) {
      return;
    }
    attention_->Run(layer, qkv.data.get(), out.data.get());
  }

  void SwiGlu(ActivationId in_id, ActivationId out_id) override {
    Activation &in = At(in_id), &out = At(out_id);
    if (!Is(in.width == 2 * out.width, "SwiGlu: width") || !Holds(out, in.rows, out.width, "SwiGlu")) return;
    ForRows(in.rows,
            [&](int64_t row) { cpu::SwiGluRow(in.Row(row), in.Row(row) + out.width, out.width, out.Row(row)); });
  }

  void GatherLogitRows(ActivationId in_id, ActivationId out_id) override {
    Activation &in = At(in_id), &out = At(out_id);
    if (!Is(in.rows == batch_->n_tokens(), "GatherLogitRows: rows") ||
        !Holds(out, batch_->n_logit_rows(), in.width, "GatherLogitRows")) {
      return;
    }
    int64_t next = 0;
    for (const BatchRow& row : batch_->rows) {
      const int64_t n = row.n_new - row.first_logit;
      std::copy_n(in.Row(row.first_token + row.first_logit), n * in.width, out.Row(next));
      next += n;
    }
  }

  void Decode(ActivationId logits_id) override {
    const auto begin = std::chrono::steady_clock::now();
    Activation& logits = At(logits_id);
    if (!Is(logits.rows == batch_->n_logit_rows(), "Decode: rows") ||
        !Is(logits.width >= vocabulary_size_, "Decode: vocabulary")) {
      return;
    }
    decoder_.Decode(*batch_, logits.data.get(), logits.width, result_);
    result_.sampling = std::chrono::steady_clock::now() - begin;
  }

  Ticket EndStep() override {
    batch_ = nullptr;
    outcomes_.push_back({std::move(status_), std::move(result_)});
    return static_cast<Ticket>(next_ticket_++);
  }

  absl::StatusOr<StepResult> Collect(Ticket ticket) override {
    const int64_t first = next_ticket_ - static_cast<int64_t>(outcomes_.size());
    if (outcomes_.empty() || static_cast<int64_t>(ticket) != first) {
      return absl::InternalError(absl::StrCat("ticket ", static_cast<int64_t>(ticket), " is not the next one"));
    }
    Outcome outcome = std::move(outcomes_.front());
    outcomes_.pop_front();
    LH_RETURN_IF_ERROR(outcome.status);
    return std::move(outcome.result);
  }

  std::vector<float> Read(ActivationId id) override {
    Activation& activation = At(id);
    return {activation.data.get(), activation.Row(activation.rows)};
  }

 private:
  WeightId Add(Weight weight) {
    weights_.push_back(std::move(weight));
    return static_cast<WeightId>(weights_.size() - 1);
  }

  Weight& At(WeightId id) { return weights_[static_cast<size_t>(id)]; }
  Activation& At(ActivationId id) { return activations_[static_cast<size_t>(id)]; }

  // Shapes that do not fit are a mistake of the caller: the step goes on without the operation, and Collect says so.
  bool Is(bool right, const char* what) {
    if (!right && status_.ok()) status_ = absl::InternalError(absl::StrCat("shapes do not fit: ", what));
    return right;
  }

  // Sets the rows of `out`; false when it does not hold [rows, width].
  bool Holds(Activation& out, int64_t rows, int64_t width, const char* what) {
    if (!Is(rows <= out.max_rows && width == out.width, what)) return false;
    out.rows = rows;
    return true;
  }

  void ForRows(int64_t rows, absl::FunctionRef<void(int64_t row)> work) {
    pool_.ParallelFor((rows + kPieceRows - 1) / kPieceRows, [&](int64_t piece, int) {
      const int64_t end = std::min(rows, (piece + 1) * kPieceRows);
      for (int64_t row = piece * kPieceRows; row < end; ++row) work(row);
    });
  }

  BackendInfo info_;
  cpu::WorkerPool pool_;
  cpu::WeightMemory memory_;
  cpu::MatmulScratch matmul_scratch_;
  cpu::LogitDecoder decoder_{pool_};
  std::unique_ptr<cpu::KvCache> cache_;
  std::unique_ptr<cpu::Attention> attention_;
  std::vector<Weight> weights_;
  std::vector<Activation> activations_;
  int64_t vocabulary_size_ = INT64_MAX;

  // Of the step at hand.
  const Batch* batch_ = nullptr;
  absl::Status status_;
  StepResult result_;

  std::deque<Outcome> outcomes_;  // not collected yet; the last one is of next_ticket_ - 1
  int64_t next_ticket_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Backend>> CreateCpuBackend(const CpuBackendOptions& options) {
  constexpr int kMaxThreads = 1024;
  const int threads =
      options.threads != 0 ? options.threads : std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  if (threads < 1 || threads > kMaxThreads) {
    return absl::InvalidArgumentError(absl::StrCat("threads ", threads, ": allowed are 1 to ", kMaxThreads));
  }
  if (options.compute_type == ComputeType::kAuto || options.cache_type == CacheType::kAuto) {
    return absl::InvalidArgumentError("the types of products and cache are not resolved");
  }
  return std::make_unique<CpuBackend>(options, threads);
}

}  // namespace longhaul
