// Matrix products at the shapes of the default model: one row (decode) and 512 rows (prefill), one and two threads.
//
//   matmul_bench --benchmark_filter='int8.*rows:512'
//
// FLOP/s counts a multiply and an add per weight and row; bytes/s the packed weights that are read. One row goes
// through as many matrices as lie beyond the cache, as in a model.

#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "benchmark/benchmark.h"
#include "engine/backend/cpu/matmul/packed_matrix.h"

namespace longhaul::cpu {
namespace {

struct Shape {
  const char* name;
  TensorType type;
  int64_t columns, outputs;
};
constexpr Shape kShapes[] = {{"qkv", TensorType::kQ4_1, 576, 960},
                             {"attention_out", TensorType::kQ4_1, 576, 576},
                             {"gate_up", TensorType::kQ4_1, 576, 3072},
                             {"down", TensorType::kQ4_1, 1536, 576},
                             {"logits", TensorType::kQ8_0, 576, 49152}};
// Larger matrices of every type.
constexpr Shape kTypeShapes[] = {{"large", TensorType::kF32, 2048, 2048},   {"large", TensorType::kF16, 2048, 2048},
                                 {"large", TensorType::kQ4_0, 2048, 2048},  {"large", TensorType::kQ4_1, 2048, 2048},
                                 {"large", TensorType::kQ8_0, 2048, 2048},  {"large", TensorType::kQ4_K, 2048, 2048},
                                 {"large", TensorType::kQ5_K, 2048, 2048},  {"large", TensorType::kQ6_K, 2048, 2048},
                                 {"large", TensorType::kQ5_0, 2048, 2048},  {"large", TensorType::kQ5_1, 2048, 2048},
                                 {"large", TensorType::kIQ4_NL, 2048, 2048}};

// Random bytes: as fast as real weights, since nothing in them is special. Floats are kept ordinary by clearing the top
// bits of every byte pair's exponent.
std::vector<std::byte> RandomBytes(const Shape& shape) {
  std::vector<std::byte> bytes(static_cast<size_t>(shape.outputs * RowBytes(shape.type, shape.columns)));
  std::mt19937 random(1);
  for (std::byte& b : bytes) b = static_cast<std::byte>(random() & 0x3f);
  return bytes;
}

void Matmul(benchmark::State& state, Shape shape, ComputeType compute, int64_t rows, int threads) {
  WorkerPool pool(threads);
  const std::vector<std::byte> bytes = RandomBytes(shape);
  HostTensor tensor;
  tensor.name = shape.name;
  tensor.type = shape.type;
  tensor.rows = shape.outputs;
  tensor.columns = shape.columns;
  tensor.data = bytes.data();
  WeightMemory memory;
  std::vector<PackedMatrixPtr> matrices;
  int64_t packed = 0;
  do {
    matrices.push_back(Pack({&tensor, 1}, compute, memory, pool).value());
    packed += Bytes(*matrices.back());
  } while (rows < 100 && packed < 80 << 20);

  std::vector<float> in(static_cast<size_t>(rows * shape.columns)), out(static_cast<size_t>(rows * shape.outputs));
  std::mt19937 random(2);
  std::normal_distribution<float> normal;
  for (float& x : in) x = normal(random);
  MatmulScratch scratch;
  size_t next = 0;
  for (auto _ : state) {
    Multiply(in.data(), rows, *matrices[next++ % matrices.size()], Epilogue::kStore, out.data(), scratch, pool);
    benchmark::ClobberMemory();
  }
  const double products = static_cast<double>(state.iterations());
  const double flops = 2.0 * static_cast<double>(rows * shape.columns * shape.outputs);
  state.counters["FLOP/s"] = benchmark::Counter(products * flops, benchmark::Counter::kIsRate);
  state.counters["bytes/s"] =
      benchmark::Counter(products * static_cast<double>(Bytes(*matrices[0])), benchmark::Counter::kIsRate);
}

// Packing: bytes/s of the file.
void PackBench(benchmark::State& state, Shape shape, ComputeType compute) {
  WorkerPool pool(2);
  const std::vector<std::byte> bytes = RandomBytes(shape);
  HostTensor tensor;
  tensor.name = shape.name;
  tensor.type = shape.type;
  tensor.rows = shape.outputs;
  tensor.columns = shape.columns;
  tensor.data = bytes.data();
  WeightMemory memory;
  for (auto _ : state) benchmark::DoNotOptimize(Pack({&tensor, 1}, compute, memory, pool).value());
  state.counters["bytes/s"] = benchmark::Counter(
      static_cast<double>(state.iterations()) * static_cast<double>(bytes.size()), benchmark::Counter::kIsRate);
}

void Register(const Shape& shape, ComputeType compute, int64_t rows, int threads) {
  const std::string name = std::string(Name(compute)) + "/" + shape.name + "/" + std::string(Info(shape.type).name) +
                           "/" + std::to_string(shape.columns) + "x" + std::to_string(shape.outputs) +
                           "/rows:" + std::to_string(rows) + "/threads:" + std::to_string(threads);
  benchmark::RegisterBenchmark(name.c_str(), Matmul, shape, compute, rows, threads)->UseRealTime();
}

}  // namespace
}  // namespace longhaul::cpu

int main(int argc, char** argv) {
  using namespace longhaul;
  using namespace longhaul::cpu;
  for (ComputeType compute : {ComputeType::kInt8, ComputeType::kBf16, ComputeType::kF32}) {
    for (int64_t rows : {1, 2, 4, 8, 12, 16, 512}) {
      for (int threads : {1, 2}) {
        for (const Shape& shape : kShapes) Register(shape, compute, rows, threads);
        for (const Shape& shape : kTypeShapes) Register(shape, compute, rows, threads);
      }
    }
  }
  for (const Shape& shape : {kShapes[2], kShapes[4], kTypeShapes[1], kTypeShapes[5], kTypeShapes[7]}) {
    const std::string name = std::string("pack/") + std::string(Info(shape.type).name);
    benchmark::RegisterBenchmark(name.c_str(), PackBench, shape, ComputeType::kInt8)->UseRealTime();
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
