#include "engine/backend/cpu/matmul/packed_matrix.h"

#include <algorithm>
#include <bit>
#include <new>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/backend/cpu/growing_array.h"
#include "engine/backend/cpu/matmul/matmul_kernels.h"
#include "engine/backend/cpu/matmul/packed_layout.h"
#include "engine/backend/cpu/matmul/panel_writer.h"
#include "engine/base/status_macros.h"

namespace longhaul::cpu {
namespace {

// Stacked parts of one type.
struct Segment {
  TensorType type = TensorType::kF32;
  PanelLayout layout;
  int64_t first_output = 0;
  int64_t outputs = 0;
  std::shared_ptr<uint8_t[]> panels;

  int64_t n_panels() const { return (outputs + kPanelOutputs - 1) / kPanelOutputs; }
};

// The type that a segment is computed in.
ComputeType SegmentCompute(PanelFormat format, ComputeType compute) {
  return compute == ComputeType::kInt8 && !IsQuantized(format) ? ComputeType::kBf16 : compute;
}

PanelFormat FormatFor(TensorType type, ComputeType compute) {
  switch (type) {
    case TensorType::kQ4_0:
      return PanelFormat::kQ4_0;
    case TensorType::kQ4_1:
      return PanelFormat::kQ4_1;
    case TensorType::kQ5_0:
      return PanelFormat::kQ5_0;
    case TensorType::kQ5_1:
      return PanelFormat::kQ5_1;
    case TensorType::kIQ4_NL:
      return PanelFormat::kIQ4_NL;
    case TensorType::kQ8_0:
      return PanelFormat::kQ8_0;
    case TensorType::kQ4_K:
      return PanelFormat::kQ4_K;
    case TensorType::kQ5_K:
      return PanelFormat::kQ5_K;
    case TensorType::kQ6_K:
      return PanelFormat::kQ6_K;
    case TensorType::kF32:
      return compute == ComputeType::kF32 ? PanelFormat::kF32 : PanelFormat::kBf16Pairs;
    case TensorType::kF16:
      return compute == ComputeType::kF32 ? PanelFormat::kF16 : PanelFormat::kBf16Pairs;
    case TensorType::kBF16:
      return compute == ComputeType::kF32 ? PanelFormat::kBf16 : PanelFormat::kBf16Pairs;
  }
  return PanelFormat::kF32;
}

// Where each of the part's rows lies, in the order in which they are used.
void AppendRows(const HostTensor& part, std::vector<const uint8_t*>& rows) {
  const auto* data = reinterpret_cast<const uint8_t*>(part.data);
  const int64_t row_bytes = RowBytes(part.type, part.columns);
  for (int64_t i = 0; i < part.rows; ++i) {
    const int64_t row = part.row_order.empty() ? i : part.row_order[static_cast<size_t>(i)];
    rows.push_back(data + row * row_bytes);
  }
}

absl::Status WriteSegment(std::vector<const uint8_t*> rows, Segment& segment, WeightMemory& memory, WorkerPool& pool) {
  const int64_t panels = segment.n_panels();
  segment.panels = memory.Take(panels * segment.layout.bytes);
  if (segment.panels == nullptr) {
    return absl::ResourceExhaustedError(
        absl::StrCat("no memory for ", panels * segment.layout.bytes, " bytes of weights"));
  }
  rows.resize(static_cast<size_t>(panels * kPanelOutputs), nullptr);
  constexpr int64_t kPanelsPerPiece = 8;
  pool.ParallelFor((panels + kPanelsPerPiece - 1) / kPanelsPerPiece, [&](int64_t piece, int) {
    const int64_t end = std::min(panels, (piece + 1) * kPanelsPerPiece);
    for (int64_t p = piece * kPanelsPerPiece; p < end; ++p) {
      WritePanel(segment.layout, segment.type, &rows[static_cast<size_t>(p * kPanelOutputs)],
                 segment.panels.get() + p * segment.layout.bytes);
    }
  });
  return absl::OkStatus();
}

}  // namespace

class PackedMatrix {
 public:
  ComputeType compute;
  int64_t outputs = 0;
  int64_t columns = 0;
  std::vector<Segment> segments;
};

void PackedMatrixDeleter::operator()(PackedMatrix* matrix) const {
  delete matrix;
}

absl::StatusOr<PackedMatrixPtr> Pack(std::span<const HostTensor> parts, ComputeType compute, WeightMemory& memory,
                                     WorkerPool& pool) {
  PackedMatrixPtr matrix(new PackedMatrix);
  matrix->compute = compute;
  matrix->columns = parts.front().columns;
  for (size_t i = 0; i < parts.size();) {
    Segment segment;
    segment.type = parts[i].type;
    segment.layout = MakePanelLayout(FormatFor(segment.type, compute), matrix->columns);
    segment.first_output = matrix->outputs;
    std::vector<const uint8_t*> rows;
    for (; i < parts.size() && parts[i].type == segment.type; ++i) AppendRows(parts[i], rows);
    segment.outputs = static_cast<int64_t>(rows.size());
    matrix->outputs += segment.outputs;
    LH_RETURN_IF_ERROR(WriteSegment(std::move(rows), segment, memory, pool));
    matrix->segments.push_back(std::move(segment));
  }
  return matrix;
}

int64_t Outputs(const PackedMatrix& matrix) {
  return matrix.outputs;
}

int64_t Columns(const PackedMatrix& matrix) {
  return matrix.columns;
}

int64_t Bytes(const PackedMatrix& matrix) {
  int64_t bytes = 0;
  for (const Segment& segment : matrix.segments) bytes += segment.n_panels() * segment.layout.bytes;
  return bytes;
}

namespace {

// A part of a matmul that one thread computes at a time.
struct Piece {
  const Segment* segment;
  int64_t first_panel, panels;
  int64_t first_row, rows;
};

}  // namespace

struct MatmulScratch::Impl {
  GrowingArray<int8_t> codes;
  GrowingArray<RunSums> sums;
  GrowingArray<uint32_t> pairs;
  GrowingArray<uint32_t> floats;
  GrowingArray<uint32_t> of_threads;
  std::vector<Piece> pieces;
};

MatmulScratch::MatmulScratch() : impl_(std::make_unique<Impl>()) {}
MatmulScratch::~MatmulScratch() = default;

namespace {

// Rows that are worked on at once, so that their activations stay in the cache: a multiple of every tile.
constexpr int64_t kFloatRows = 192;
int64_t Int8RowsAtOnce(int64_t columns) {
  return std::max<int64_t>(24, (384 << 10) / columns / 24 * 24);
}

int64_t RowsAtOnce(const Segment& segment, const PackedMatrix& matrix) {
  const bool int8 = SegmentCompute(segment.layout.format, matrix.compute) == ComputeType::kInt8;
  return int8 ? Int8RowsAtOnce(matrix.columns) : kFloatRows;
}

// Multiply-adds of a piece, about.
constexpr int64_t kPieceWork = 128 << 10;

// Panels of a piece at least: float panels go in pairs.
constexpr int64_t kMinPanels = 2;

// Depends on the shape alone.
void CutIntoPieces(const PackedMatrix& matrix, int64_t rows, std::vector<Piece>& pieces) {
  pieces.clear();
  for (const Segment& segment : matrix.segments) {
    const int64_t rows_at_once = RowsAtOnce(segment, matrix);
    const int64_t panels = segment.n_panels();
    for (int64_t r = 0; r < rows; r += rows_at_once) {
      const int64_t n_rows = std::min(rows_at_once, rows - r);
      const int64_t panel_work = n_rows * matrix.columns * kPanelOutputs;
      const int64_t panels_at_once = std::max(kMinPanels, kPieceWork / panel_work / 2 * 2);
      for (int64_t p = 0; p < panels; p += panels_at_once) {
        pieces.push_back({&segment, p, std::min(panels_at_once, panels - p), r, n_rows});
      }
    }
  }
}

// Calls round(first row, rows of the tile) for every tile, several at once where it is worth it.
template <class Round>
void ForEachTile(int64_t rows, int64_t columns, int most, WorkerPool& pool, Round round) {
  constexpr int64_t kRowsPerPiece = 24;  // a multiple of every tile
  const auto work = [&](int64_t piece, int) {
    const int64_t end = std::min(rows, (piece + 1) * kRowsPerPiece);
    for (int64_t r = piece * kRowsPerPiece; r < end;) {
      const int tile = TileRows(end - r, most);
      round(r, tile);
      r += tile;
    }
  };
  const int64_t pieces = (rows + kRowsPerPiece - 1) / kRowsPerPiece;
  if (rows * columns < 32 << 10) {
    for (int64_t piece = 0; piece < pieces; ++piece) work(piece, 0);
  } else {
    pool.ParallelFor(pieces, work);
  }
}

// Memory for the forms that a matrix's segments want; null for the others.
struct ActivationMemory {
  int8_t* codes = nullptr;
  RunSums* sums = nullptr;
  uint32_t* pairs = nullptr;
  uint32_t* floats = nullptr;
};

ActivationMemory TakeMemory(const PackedMatrix& matrix, int64_t rows, MatmulScratch::Impl& scratch) {
  ActivationMemory memory;
  for (const Segment& segment : matrix.segments) {
    switch (SegmentCompute(segment.layout.format, matrix.compute)) {
      case ComputeType::kInt8:
        memory.codes = scratch.codes.AtLeast(rows * matrix.columns);
        memory.sums = scratch.sums.AtLeast(rows * (matrix.columns / 32));
        break;
      case ComputeType::kBf16:
        memory.pairs = scratch.pairs.AtLeast(rows * ((matrix.columns + 1) / 2));
        break;
      default:
        memory.floats = scratch.floats.AtLeast(rows * matrix.columns);
        break;
    }
  }
  return memory;
}

// The activations of one matmul in the forms that its segments take.
struct Activations {
  Int8Rows int8{};
  FloatRows f32{};
  FloatRows bf16{};
};

Activations RoundActivations(const float* in, int64_t rows, const PackedMatrix& matrix, const MatmulKernels& kernels,
                             MatmulScratch::Impl& scratch, WorkerPool& pool) {
  const int64_t columns = matrix.columns;
  const ActivationMemory memory = TakeMemory(matrix, rows, scratch);
  Activations activations;
  if (memory.codes != nullptr) {
    const int64_t runs = columns / 32;
    int8_t* const codes = memory.codes;
    RunSums* const sums = memory.sums;
    ForEachTile(rows, columns, kernels.int8_tile, pool, [&](int64_t r, int tile) {
      kernels.quantize_rows(in + r * columns, columns, tile, codes + r * columns, sums + r * runs);
    });
    activations.int8 = {codes, sums, runs, 0, rows};
  }
  if (memory.pairs != nullptr) {
    const int64_t pairs = (columns + 1) / 2;
    uint32_t* const units = memory.pairs;
    ForEachTile(rows, columns, kernels.float_tile, pool,
                [&](int64_t r, int tile) { kernels.round_rows(in + r * columns, columns, tile, units + r * pairs); });
    activations.bf16 = {units, pairs, 0, rows};
  }
  if (memory.floats != nullptr) {
    uint32_t* const units = memory.floats;
    ForEachTile(rows, columns, kernels.float_tile, pool, [&](int64_t r, int tile) {
      for (int t = 0; t < tile; ++t) {
        const float* from = in + (r + t) * columns;
        uint32_t* to = units + r * columns + t;
        for (int64_t k = 0; k < columns; ++k) to[k * tile] = std::bit_cast<uint32_t>(from[k]);
      }
    });
    activations.f32 = {units, columns, 0, rows};
  }
  return activations;
}

// Per thread: sums, two chunks of weights, and a chunk of twice as many elements before they are rounded to pairs.
constexpr int64_t kChunkElements = kFloatChunk * kPanelOutputs;
constexpr int64_t kFloatScratchElements = kFloatRows * 2 * kPanelOutputs + 4 * kChunkElements;

FloatScratch ScratchOfThread(uint32_t* all, int thread) {
  uint32_t* at = all + thread * kFloatScratchElements;
  uint32_t* chunks = at + kFloatRows * 2 * kPanelOutputs;
  return {reinterpret_cast<float*>(at), {chunks, chunks + kChunkElements}, chunks + 2 * kChunkElements};
}

}  // namespace

void MatmulScratch::Reserve(const PackedMatrix& matrix, int64_t rows, int threads) {
  TakeMemory(matrix, rows, *impl_);
  impl_->of_threads.AtLeast(threads * kFloatScratchElements);
  // Rows of any number up to `rows`: the panels of a piece are the fewest where its rows are many.
  int64_t pieces = 0;
  for (const Segment& segment : matrix.segments) {
    pieces += (rows / RowsAtOnce(segment, matrix) + 1) * (segment.n_panels() / kMinPanels + 1);
  }
  impl_->pieces.reserve(std::max(impl_->pieces.capacity(), static_cast<size_t>(pieces)));
}

void Multiply(const float* in, int64_t rows, const PackedMatrix& matrix, Epilogue epilogue, float* out,
              MatmulScratch& scratch, WorkerPool& pool) {
  if (rows < 1) return;
  const MatmulKernels& kernels = ActiveMatmulKernels();
  MatmulScratch::Impl& impl = scratch.impl();
  const Activations activations = RoundActivations(in, rows, matrix, kernels, impl, pool);
  uint32_t* float_scratch = impl.of_threads.AtLeast(pool.threads() * kFloatScratchElements);
  CutIntoPieces(matrix, rows, impl.pieces);

  pool.ParallelFor(static_cast<int64_t>(impl.pieces.size()), [&](int64_t i, int thread) {
    const Piece& piece = impl.pieces[static_cast<size_t>(i)];
    const Segment& segment = *piece.segment;
    const PanelRange panels = {&segment.layout, segment.panels.get(), piece.first_panel, piece.panels};
    const Output to = {out + segment.first_output, matrix.outputs, segment.outputs, epilogue};
    switch (SegmentCompute(segment.layout.format, matrix.compute)) {
      case ComputeType::kInt8: {
        Int8Rows of_piece = activations.int8;
        of_piece.first_row = piece.first_row;
        of_piece.rows = piece.rows;
        return kernels.int8_matmul(panels, of_piece, to);
      }
      case ComputeType::kBf16: {
        FloatRows of_piece = activations.bf16;
        of_piece.first_row = piece.first_row;
        of_piece.rows = piece.rows;
        return kernels.bf16_matmul(panels, of_piece, ScratchOfThread(float_scratch, thread), to);
      }
      default: {
        FloatRows of_piece = activations.f32;
        of_piece.first_row = piece.first_row;
        of_piece.rows = piece.rows;
        return kernels.f32_matmul(panels, of_piece, ScratchOfThread(float_scratch, thread), to);
      }
    }
  });
}

}  // namespace longhaul::cpu
