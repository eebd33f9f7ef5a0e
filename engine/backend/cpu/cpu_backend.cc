#include "engine/backend/cpu/cpu_backend.h"

#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/backend/cpu/aligned_floats.h"
#include "engine/backend/cpu/attention/attention.h"
#include "engine/backend/cpu/attention/kv_cache.h"
#include "engine/backend/cpu/matmul/dequantize.h"
#include "engine/backend/cpu/matmul/packed_matrix.h"
#include "engine/backend/cpu/matmul/weight_memory.h"
#include "engine/backend/cpu/row_ops.h"
#include "engine/backend/cpu/token_chooser.h"
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

const std::byte* RowData(const HostTensor& tensor, int64_t row) {
  const int64_t file_row = tensor.row_order.empty() ? row : tensor.row_order[static_cast<size_t>(row)];
  return tensor.data + file_row * RowBytes(tensor.type, tensor.columns);
}

class CpuBackend final : public Backend {
 public:
  explicit CpuBackend(const CpuBackendOptions& options) : pool_(options.threads) {
    info_.name = "cpu";
    info_.instruction_set = std::string(InstructionSetName(ActiveInstructionSet()));
    if (ActiveHasVnni()) info_.instruction_set += "+vnni";
    if (ActiveHasBf16()) info_.instruction_set += "+bf16";
    info_.threads = options.threads;
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
    Weight weight;
    weight.table = table;
    return Add(std::move(weight));
  }

  absl::StatusOr<WeightId> PackVector(std::span<const HostTensor> parts) override {
    Weight weight;
    for (const HostTensor& part : parts) {
      std::vector<float> values(static_cast<size_t>(part.columns));
      cpu::DequantizeRow(part.type, part.data, part.columns, values.data());
      for (size_t i = 0; i < values.size(); ++i) {
        weight.vector.push_back(values[part.row_order.empty() ? i : static_cast<size_t>(part.row_order[i])]);
      }
    }
    return Add(std::move(weight));
  }

  absl::StatusOr<CacheGeometry> PlanCache(const CacheShape& shape, int64_t bytes) const override {
    return cpu::PlanCache(shape, info_.cache_type, bytes);
  }

  absl::Status AllocateCache(const CacheShape& shape, const CacheGeometry& geometry,
                             const StepLimits& limits) override {
    LH_ASSIGN_OR_RETURN(cache_, cpu::KvCache::Create(shape, geometry, info_.cache_type));
    attention_ = std::make_unique<cpu::Attention>(*cache_, limits.max_tokens, pool_);
    const int64_t max_rows = std::max(limits.max_tokens, limits.max_logit_rows);
    for (const Weight& weight : weights_) {
      if (weight.matrix != nullptr) matmul_scratch_.Reserve(*weight.matrix, max_rows, pool_.threads());
    }
    tokens_.reserve(static_cast<size_t>(limits.max_tokens));
    return absl::OkStatus();
  }

  absl::StatusOr<ActivationId> AllocateActivation(int64_t max_rows, int64_t width) override {
    Activation activation;
    activation.max_rows = max_rows;
    activation.width = width;
    int64_t size = 0;
    if (!__builtin_mul_overflow(max_rows, width, &size)) activation.data = cpu::AllocateFloats(size);
    if (activation.data == nullptr) {
      return absl::ResourceExhaustedError(absl::StrCat("no memory for an activation of ", max_rows, " x ", width));
    }
    activations_.push_back(std::move(activation));
    return static_cast<ActivationId>(activations_.size() - 1);
  }

  absl::Status BeginStep(const Batch& batch) override {
    batch_ = &batch;
    result_ = StepResult();
    result_.groups.resize(batch.groups.size());
    // A step on the CPU is complete when it ends, so the tokens that the step before drew are known.
    tokens_.assign(batch.tokens.begin(), batch.tokens.end());
    for (TokenId& token : tokens_) {
      if (!IsDrawn(token)) continue;
      // Where nothing could be drawn the answer has ended with an error, and the results of its rows are not used.
      token = std::max(drawn_[static_cast<size_t>(DrawingGroup(token))].drawn.id, 0);
    }
    attention_->BeginStep(batch);
    // EndStep takes no memory.
    next_drawn_.resize(batch.groups.size());
    outcomes_.reserve(outcomes_.size() + 1);
    return absl::OkStatus();
  }

  void Embed(WeightId table_id, ActivationId out_id) override {
    const HostTensor& table = At(table_id).table;
    Activation& out = Resize(out_id, batch_->n_tokens());
    ForRows(out.rows, [&](int64_t row) {
      cpu::DequantizeRow(table.type, RowData(table, tokens_[static_cast<size_t>(row)]), table.columns, out.Row(row));
    });
  }

  void RmsNorm(ActivationId in_id, WeightId weight_id, float epsilon, ActivationId out_id) override {
    const std::vector<float>& weight = At(weight_id).vector;
    Activation &in = At(in_id), &out = Resize(out_id, in.rows);
    ForRows(in.rows,
            [&](int64_t row) { cpu::RmsNormRow(in.Row(row), weight.data(), epsilon, in.width, out.Row(row)); });
  }

  void RmsNormSlices(ActivationId inout_id, int64_t first, int64_t slices, WeightId weight_id, float epsilon) override {
    const std::vector<float>& weight = At(weight_id).vector;
    const auto width = static_cast<int64_t>(weight.size());
    Activation& inout = At(inout_id);
    ForRows(inout.rows, [&](int64_t row) {
      for (int64_t slice = 0; slice < slices; ++slice) {
        float* const at = inout.Row(row) + first + slice * width;
        cpu::RmsNormRow(at, weight.data(), epsilon, width, at);
      }
    });
  }

  void Linear(ActivationId in_id, WeightId matrix_id, std::optional<WeightId> bias_id, Epilogue epilogue,
              ActivationId out_id) override {
    Activation &in = At(in_id), &out = Resize(out_id, in.rows);
    cpu::Multiply(in.data.get(), in.rows, *At(matrix_id).matrix, epilogue, out.data.get(), matmul_scratch_, pool_);
    if (!bias_id) return;
    const std::vector<float>& bias = At(*bias_id).vector;
    ForRows(out.rows, [&](int64_t row) { cpu::AddRow(bias.data(), out.width, out.Row(row)); });
  }

  void Attention(int64_t layer, ActivationId qkv_id, ActivationId out_id) override {
    attention_->Run(layer, At(qkv_id).data.get(), Resize(out_id, batch_->n_tokens()).data.get());
  }

  void SwiGlu(ActivationId in_id, ActivationId out_id) override {
    Activation &in = At(in_id), &out = Resize(out_id, in.rows);
    ForRows(in.rows,
            [&](int64_t row) { cpu::SwiGluRow(in.Row(row), in.Row(row) + out.width, out.width, out.Row(row)); });
  }

  void GatherLogitRows(ActivationId in_id, ActivationId out_id) override {
    Activation &in = At(in_id), &out = Resize(out_id, batch_->n_logit_rows());
    int64_t next = 0;
    for (const WantedLogits& wanted : batch_->wanted) std::copy_n(in.Row(wanted.token), in.width, out.Row(next++));
  }

  void ChooseTokens(ActivationId logits_id) override {
    const auto begin = std::chrono::steady_clock::now();
    Activation& logits = At(logits_id);
    chooser_.Choose(*batch_, logits.data.get(), logits.width, drawn_, result_);
    result_.sampling = std::chrono::steady_clock::now() - begin;
  }

  Ticket EndStep() override {
    batch_ = nullptr;
    for (size_t g = 0; g < next_drawn_.size(); ++g) {
      next_drawn_[g].drawn.id = result_.groups[g].drawn.id;
      next_drawn_[g].choice.row = result_.groups[g].choice.row;
    }
    drawn_.swap(next_drawn_);
    outcomes_.push_back(std::move(result_));
    return static_cast<Ticket>(next_ticket_++);
  }

  absl::StatusOr<StepResult> Collect(Ticket ticket) override {
    const int64_t first = next_ticket_ - static_cast<int64_t>(outcomes_.size());
    if (outcomes_.empty() || static_cast<int64_t>(ticket) != first) {
      return absl::InternalError(absl::StrCat("ticket ", static_cast<int64_t>(ticket), " is not the next one"));
    }
    StepResult result = std::move(outcomes_.front());
    outcomes_.erase(outcomes_.begin());
    return result;
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

  // Sets its rows. REQUIRES: it holds as many.
  Activation& Resize(ActivationId id, int64_t rows) {
    At(id).rows = rows;
    return At(id);
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
  cpu::TokenChooser chooser_{pool_};
  std::unique_ptr<cpu::KvCache> cache_;
  std::unique_ptr<cpu::Attention> attention_;
  std::vector<Weight> weights_;
  std::vector<Activation> activations_;

  // Of the step at hand.
  const Batch* batch_ = nullptr;
  std::vector<TokenId> tokens_;
  StepResult result_;
  std::vector<GroupResult> drawn_;       // of the step before: ids and choices alone
  std::vector<GroupResult> next_drawn_;  // becomes drawn_ when the step at hand ends

  std::vector<StepResult> outcomes_;  // not collected yet; the last one is of next_ticket_ - 1
  int64_t next_ticket_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Backend>> CreateCpuBackend(const CpuBackendOptions& options) {
  constexpr int kMaxThreads = 1024;
  if (options.threads < 1 || options.threads > kMaxThreads) {
    return absl::InvalidArgumentError(absl::StrCat("threads ", options.threads, ": allowed are 1 to ", kMaxThreads));
  }
  if (options.compute_type == ComputeType::kAuto || options.cache_type == CacheType::kAuto) {
    return absl::InvalidArgumentError("the types of matrix products and cache are not resolved");
  }
  return std::make_unique<CpuBackend>(options);
}

}  // namespace longhaul
