// The combine of one NBCE step at the size of the default model: 16 documents and the empty one, 49,152 tokens each.
//
//   nbce_bench --benchmark_filter='min_entropy.*threads:2'
//
// `peaked`: most of the probability on a few tokens, as after a likely word; `flat`: the cut keeps a third of the
// vocabulary; `equal`: every token alike. `read` is what is done row by row, `merge` range by range, `combine` both as
// a backend spreads them over its threads.

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "benchmark/benchmark.h"
#include "engine/backend/cpu/worker_pool.h"
#include "engine/decoding/nbce_combiner.h"

namespace longhaul {
namespace {

constexpr size_t kRows = 17, kVocabulary = 49152;
constexpr size_t kRange = 8192;  // tokens of a piece of the merge

enum class Shape { kPeaked, kFlat, kEqual };

std::vector<float> MakeRows(Shape shape) {
  std::mt19937 random(1);
  // A spread of 1 keeps 43 % of the tokens at top_p 0.95, one of 3 some hundred.
  std::normal_distribution<float> normal(0, shape == Shape::kPeaked ? 3.0f : 1.0f);
  std::vector<float> rows(kRows * kVocabulary, 1);
  if (shape == Shape::kEqual) return rows;
  for (float& x : rows) x = normal(random);
  return rows;
}

NbceLogits LogitsOf(const std::vector<float>& rows) {
  return {rows.data(), kRows, kVocabulary, kVocabulary};
}

void Read(benchmark::State& state, Shape shape) {
  const std::vector<float> data = MakeRows(shape);
  const NbceLogits logits = LogitsOf(data);
  for (auto _ : state) {
    for (size_t i = 0; i < kRows; ++i) benchmark::DoNotOptimize(ReadNbceRow(logits.row(i), 0.95f));
  }
}

// One step as a backend does it: rows, then ranges.
void Combine(benchmark::State& state, Shape shape, NbcePooling pooling, int threads) {
  const std::vector<float> data = MakeRows(shape);
  const NbceLogits logits = LogitsOf(data);
  const NbceParams params;
  cpu::WorkerPool pool(threads);
  std::vector<NbceRow> rows(kRows);
  std::vector<float> combined(kVocabulary);
  for (auto _ : state) {
    pool.ParallelFor(kRows, [&](int64_t i, int) {
      rows[static_cast<size_t>(i)] = ReadNbceRow(logits.row(static_cast<size_t>(i)), params.top_p);
    });
    const int32_t chosen = ChooseNbceRow(rows, params.eta, -1);
    pool.ParallelFor(kVocabulary / kRange, [&](int64_t range, int) {
      const size_t begin = static_cast<size_t>(range) * kRange;
      MergeNbce(logits, rows, params.beta, pooling, chosen, begin, begin + kRange, combined.data());
    });
    benchmark::ClobberMemory();
  }
}

}  // namespace
}  // namespace longhaul

int main(int argc, char** argv) {
  using namespace longhaul;
  struct Named {
    const char* name;
    Shape shape;
  };
  for (const Named& shape : {Named{"peaked", Shape::kPeaked}, {"flat", Shape::kFlat}, {"equal", Shape::kEqual}}) {
    const std::string name = shape.name;
    benchmark::RegisterBenchmark(("read/" + name).c_str(), Read, shape.shape)->UseRealTime();
    for (int threads : {1, 2}) {
      const std::string suffix = "/" + name + "/threads:" + std::to_string(threads);
      const auto add = [&](const char* pooling_name, NbcePooling pooling) {
        benchmark::RegisterBenchmark((pooling_name + suffix).c_str(), Combine, shape.shape, pooling, threads)
            ->UseRealTime();
      };
      add("min_entropy", NbcePooling::kMinEntropy);
      add("mean", NbcePooling::kMean);
      add("max", NbcePooling::kMax);
    }
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
